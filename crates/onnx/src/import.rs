//! From a decoded file to a graph: which nodes matter, what the input is, and one node after the other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use sordino_graph::{Graph, Shape};

use crate::Error;
use crate::array::Array;
use crate::attributes::Attributes;
use crate::computed::{Computed, Value};
use crate::element::Element;
use crate::evaluate::Evaluator;
use crate::layout::Layout;
use crate::network::{ImportOptions, InputLayout, Network, malformed};
use crate::operators::Operator;
use crate::outputs::{Ending, ending};
use crate::proto::{NodeProto, TensorProto, ValueInfoProto};
use crate::reader::Reader;
use crate::table;
use crate::view::View;

/// What was read of a file.
pub(crate) struct Found {
    pub(crate) graph: Graph,
    pub(crate) ending: Ending,
    pub(crate) warnings: Vec<String>,
    pub(crate) takes_raw: bool,
    pub(crate) output: String,
    pub(crate) layout: InputLayout,
}

/// The input of a file, as the user and the file describe it together.
pub(crate) struct InputDescription {
    pub(crate) name: String,
    pub(crate) element: Element,
    /// The file's dimensions, with any batch as it will be counted.
    pub(crate) dims: Vec<usize>,
    /// Images that the file takes at once; `None` for any number.
    pub(crate) batch: Option<usize>,
    /// Channels, height and width.
    pub(crate) image: [usize; 3],
    pub(crate) layout: InputLayout,
    guessed: bool,
}

/// Reads the graph of a file.
pub(crate) fn read(network: &Network, options: &ImportOptions) -> Result<Found, Error> {
    let (output, chosen) = network.output(options.output.as_deref())?;
    let live = live_nodes(&network.graph.node, output)?;
    let input = network.input(&live)?;
    let mut description = describe(input, options)?;
    // Two images show what belongs to the batch.
    let open = description.batch.is_none();
    let images = description.batch.unwrap_or(2);
    description.dims[0] = images;
    let result = read_nodes(network, options, &live, &description, output, chosen);
    match result {
        // Some files take any number of images and have shapes for one inside.
        Err(_) if open => {
            description.dims[0] = 1;
            let single = read_nodes(network, options, &live, &description, output, chosen);
            match single {
                Ok(mut found) if result.as_ref().is_err_and(only_shapes) => {
                    found.warnings.push(
                        "the file says that it takes any number of images, but has shapes for one: it is read for one".to_string(),
                    );
                    Ok(found)
                }
                _ => result,
            }
        }
        result => result,
    }
}

/// Whether all that is wrong is that shapes do not fit a larger batch.
fn only_shapes(error: &Error) -> bool {
    match error {
        Error::Node { operator, what, .. } => {
            operator == "Reshape" && what.contains(crate::layout::MISFIT)
        }
        Error::Several { list, .. } => list
            .lines()
            .all(|line| line.contains(" x Reshape (") && line.contains(crate::layout::MISFIT)),
        _ => false,
    }
}

/// The nodes that the output needs, in the order of the file.
pub(crate) fn live_nodes<'a>(
    nodes: &'a [NodeProto],
    output: &str,
) -> Result<Vec<&'a NodeProto>, Error> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if makers.insert(name, index).is_some() {
                return Err(malformed(format!("two nodes compute {name:?}")));
            }
        }
    }
    let mut needed = vec![false; nodes.len()];
    let mut open: Vec<usize> = makers.get(output).copied().into_iter().collect();
    while let Some(index) = open.pop() {
        if !std::mem::replace(&mut needed[index], true) {
            open.extend(
                nodes[index]
                    .input
                    .iter()
                    .filter_map(|name| makers.get(&name[..])),
            );
        }
    }
    let live: Vec<&NodeProto> = nodes
        .iter()
        .zip(&needed)
        .filter(|(_, needed)| **needed)
        .map(|(node, _)| node)
        .collect();
    match live.is_empty() {
        true => Err(malformed(format!("nothing computes the output {output:?}"))),
        false => Ok(live),
    }
}

/// The input's dimensions, type and meaning.
pub(crate) fn describe(
    input: &ValueInfoProto,
    options: &ImportOptions,
) -> Result<InputDescription, Error> {
    let name = &input.name;
    let tensor = input
        .r#type
        .as_ref()
        .and_then(|kind| kind.tensor_type.as_ref());
    let code = tensor.map_or(0, |tensor| tensor.elem_type);
    let element = match Element::of(if code == 0 { 1 } else { code }) {
        Some(element) if element.is_float() || element == Element::Uint8 => element,
        _ => {
            return Err(malformed(format!(
                "input {name:?} is of type {}, expected floating-point numbers or uint8: export the network on such images",
                Element::name(code)
            )));
        }
    };
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    let dims: Vec<i64> = shape.map_or_else(Vec::new, |shape| {
        shape.dim.iter().map(|dim| dim.dim_value.max(0)).collect()
    });
    let batch = match dims.first() {
        Some(&batch @ 1..=4096) => Some(batch as usize),
        _ => None,
    };
    let known = |side: i64| usize::try_from(side).ok().filter(|&side| side > 0);
    let agree = |side: i64, given: usize| known(side).is_none_or(|side| side == given);
    let wrong = |what: &str| {
        malformed(format!(
            "input {name:?} has the dimensions {dims:?} (0: open), {what}"
        ))
    };
    let mut guessed = false;
    let (image, layout) = match (&dims[..], options.input_shape) {
        (&[_, a, b, c], Some([channels, height, width])) => {
            let first = agree(a, channels) && agree(b, height) && agree(c, width);
            let last = agree(a, height) && agree(b, width) && agree(c, channels);
            let layout = match (options.layout, first, last) {
                (Some(InputLayout::Nhwc), _, true) | (None, false, true) => InputLayout::Nhwc,
                (Some(InputLayout::Nchw) | None, true, _) => InputLayout::Nchw,
                _ => {
                    return Err(wrong(&format!(
                        "which --input-shape {channels},{height},{width} does not fit"
                    )));
                }
            };
            ([channels, height, width], layout)
        }
        (&[_, a, b, c], None) => {
            let sides = [known(a), known(b), known(c)];
            let [Some(a), Some(b), Some(c)] = sides else {
                return Err(wrong(
                    "expected numbers for channels, height and width: give them with --input-shape C,H,W",
                ));
            };
            let layout = options.layout.unwrap_or_else(|| {
                guessed = matches!(c, 1 | 3 | 4) && a > 4;
                if guessed {
                    InputLayout::Nhwc
                } else {
                    InputLayout::Nchw
                }
            });
            match layout {
                InputLayout::Nchw => ([a, b, c], layout),
                InputLayout::Nhwc => ([c, a, b], layout),
            }
        }
        (&[_, a, b], Some([1, height, width])) if agree(a, height) && agree(b, width) => {
            ([1, height, width], InputLayout::Nchw)
        }
        (&[_, a, b], None) if a > 0 && b > 0 => ([1, a as usize, b as usize], InputLayout::Nchw),
        (&[_, features], Some([channels, height, width])) => {
            let product = channels
                .checked_mul(height)
                .and_then(|area| area.checked_mul(width));
            if product.is_none_or(|product| !agree(features, product)) {
                return Err(wrong(&format!(
                    "which --input-shape {channels},{height},{width} does not fit"
                )));
            }
            (
                [channels, height, width],
                options.layout.unwrap_or(InputLayout::Nchw),
            )
        }
        (&[_, features], None) => return Err(wrong(&flat_advice(features))),
        _ => {
            return Err(wrong(
                "expected [batch, channels, height, width], [batch, height, width, channels], [batch, height, width] or \
                 [batch, pixels]: export the network on images",
            ));
        }
    };
    let [channels, height, width] = image;
    let elements = channels
        .checked_mul(height)
        .and_then(|area| area.checked_mul(width));
    let images = batch.unwrap_or(2);
    if elements
        .is_none_or(|count| count == 0 || count.saturating_mul(images) > crate::array::MAX_MADE)
    {
        return Err(wrong(
            "expected images of one to sixteen million values, a few at a time",
        ));
    }
    let mut full = vec![images];
    match (dims.len(), layout) {
        (4, InputLayout::Nchw) => full.extend(image),
        (4, InputLayout::Nhwc) => full.extend([height, width, channels]),
        (3, _) => full.extend([height, width]),
        _ => full.push(channels * height * width),
    }
    Ok(InputDescription {
        name: name.clone(),
        element,
        dims: full,
        batch,
        image,
        layout,
        guessed,
    })
}

/// What to do about a network that reads images as vectors.
fn flat_advice(features: i64) -> String {
    let advice = "which does not say how large an image is: give it with --input-shape C,H,W";
    for channels in [1, 3] {
        let side = ((features / channels) as f64).sqrt().round() as i64;
        if features > 0 && side * side * channels == features {
            return format!("{advice}, such as --input-shape {channels},{side},{side}");
        }
    }
    advice.to_string()
}

impl InputDescription {
    /// How the file orders the elements of an image that is channels, rows, columns.
    pub(crate) fn layout(&self) -> Layout {
        let [channels, height, width] = self.image;
        let images = self.dims[0];
        match self.layout {
            InputLayout::Nchw => Layout::reshaped(self.dims.clone()),
            InputLayout::Nhwc => Layout {
                dims: self.dims.clone(),
                ..Layout::transposed(&[images, channels, height, width], &[0, 2, 3, 1])
            },
        }
    }
}

/// Reads the nodes one after the other, and collects what cannot be read.
fn read_nodes<'f>(
    network: &'f Network,
    options: &ImportOptions,
    live: &[&'f NodeProto],
    input: &InputDescription,
    output: &'f str,
    chosen: bool,
) -> Result<Found, Error> {
    let images = input.dims[0];
    let [channels, height, width] = input.image;
    let shape = Shape::map(channels, height, width);
    let mut consumers: HashMap<&str, usize> = HashMap::from([(output, 1)]);
    for name in live.iter().flat_map(|node| &node.input) {
        *consumers.entry(name).or_default() += 1;
    }
    let mut reader = Reader::new(Evaluator::folding(&network.beside), images, consumers);
    let node = reader.input(shape);
    let image = Computed {
        raw: input.element == Element::Uint8,
        ..Computed::of(node, View::ordered(images, &input.image))
    };
    let at = |node| Attributes {
        node,
        opset: network.opset,
    };
    let image = reader.moved(at(live[0]), &image, &input.layout())?;
    reader
        .values
        .insert(input.name.clone(), Value::Computed(image));
    if input.guessed {
        reader.warnings.push(format!(
            "input {:?} is read as [batch, {height}, {width}, {channels}], channels last: --input-layout nchw says otherwise",
            input.name
        ));
    }
    if chosen {
        reader.warnings.push(format!(
            "the output {output:?} is imported, the others are left out: --output NAME chooses"
        ));
    }
    let initializers: HashMap<&str, &TensorProto> = network
        .graph
        .initializer
        .iter()
        .map(|t| (&t.name[..], t))
        .collect();
    let mut faults = Faults::default();
    for &node in live {
        let at = at(node);
        match step(&mut reader, at, &initializers, network) {
            Ok(values) => reader.keep(&node.op_type, &node.output, values),
            Err(error) => {
                faults.add(at, error)?;
                for name in &node.output {
                    reader.values.insert(name.clone(), Value::Refused);
                }
            }
        }
    }
    faults.finish()?;
    let value = reader.values.get(output).cloned();
    let last = at(live[live.len() - 1]);
    let value = value.ok_or_else(|| {
        last.wrong(format!(
            "its output {output:?} is not supported: choose another with --output"
        ))
    })?;
    let ending = ending(&mut reader, last, &value, output)?;
    let takes_raw = input.element == Element::Uint8 || scales_itself(&reader);
    if takes_raw {
        let why = match input.element {
            Element::Uint8 => "its input is of type uint8",
            _ => "it scales its input itself, as for values of 0 to 255",
        };
        reader.warnings.push(format!(
            "the images go in as they are, 0 to 255, because {why}: --std 1 has them scaled to 0..1 first"
        ));
    }
    let node = ending.node;
    let (graph, warnings) = reader.finish(node, shape)?;
    Ok(Found {
        graph,
        ending,
        warnings,
        takes_raw,
        output: output.to_string(),
        layout: options.layout.unwrap_or(input.layout),
    })
}

/// Whether the network begins by making small numbers of what must be raw bytes.
fn scales_itself(reader: &Reader) -> bool {
    reader
        .first_factors()
        .is_some_and(|largest| largest > 0.0 && largest < 1.0 / 48.0)
}

/// One node.
fn step<'f>(
    reader: &mut Reader<'f>,
    at: Attributes<'f>,
    initializers: &HashMap<&str, &TensorProto>,
    network: &Network,
) -> Result<Vec<Value>, Error> {
    table::check(at)?;
    let mut constant = true;
    for name in at.node.input.iter().filter(|name| !name.is_empty()) {
        if !reader.values.contains_key(name) {
            let tensor = initializers.get(&name[..]).ok_or_else(|| {
                at.wrong(format!("its input {name:?} is missing: the file has its nodes in a wrong order, or is damaged"))
            })?;
            let array = Array::read(tensor, &network.beside)?;
            reader
                .values
                .insert(name.clone(), Value::Constant(Rc::new(array)));
        }
        match reader.values.get(name) {
            Some(Value::Refused) => return Ok(vec![Value::Refused; at.node.output.len()]),
            Some(Value::Constant(_)) => {}
            Some(Value::Unread(operator)) => {
                return Err(at.wrong(format!(
                    "its input {name:?} is an output of {operator} that is not read: only values are, no class numbers, places or masks"
                )));
            }
            _ => constant = false,
        }
    }
    if !constant {
        return Operator { reader, at }.apply();
    }
    let arrays: Vec<Option<Rc<Array>>> = at
        .node
        .input
        .iter()
        .map(|name| match reader.values.get(name) {
            Some(Value::Constant(array)) => Some(Rc::clone(array)),
            _ => None,
        })
        .collect();
    let arrays: Vec<Option<&Array>> = arrays.iter().map(Option::as_deref).collect();
    let made = reader.evaluator.evaluate(at, &arrays)?;
    Ok(made
        .into_iter()
        .map(|array| Value::Constant(Rc::new(array)))
        .collect())
}

/// Nodes that cannot be read, by what is said of them.
#[derive(Default)]
struct Faults {
    first: Option<Error>,
    count: usize,
    /// By operator and advice: how many nodes, and the names of the first.
    kinds: BTreeMap<(String, String), (usize, Vec<String>)>,
    seen: HashSet<String>,
}

/// Most kinds that are listed.
const MAX_KINDS: usize = 32;

impl Faults {
    /// Notes a node. Errors that are not about a node end the import at once.
    fn add(&mut self, at: Attributes, error: Error) -> Result<(), Error> {
        let what = match &error {
            Error::Unsupported { advice, .. } => format!("not supported: {advice}"),
            Error::Node { what, .. } => what.clone(),
            _ => return Err(error),
        };
        self.count += 1;
        self.first.get_or_insert(error);
        let kind = (at.operator().to_string(), what);
        if self.kinds.len() < MAX_KINDS || self.kinds.contains_key(&kind) {
            let (count, names) = self.kinds.entry(kind).or_default();
            *count += 1;
            if names.len() < 3 && self.seen.insert(at.name().to_string()) {
                names.push(at.name().to_string());
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Error> {
        match (self.count, self.first) {
            (0, _) | (_, None) => Ok(()),
            (1, Some(error)) => Err(error),
            (count, _) => {
                let lines = self.kinds.iter().map(|((operator, what), (count, names))| {
                    format!("{count} x {operator} ({:?}): {what}", names.join(", "))
                });
                Err(Error::Several {
                    count,
                    list: lines.collect::<Vec<_>>().join("\n"),
                })
            }
        }
    }
}
