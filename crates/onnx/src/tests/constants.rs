//! Arithmetic of constants that leaves the range of its type is refused, since other programs differ about it.

use prost::Message;

use super::{bytes, dense, node, with_int};
use crate::proto::{ModelProto, NodeProto, TensorProto};
use crate::{Error, Network};

/// A network that multiplies its input by what these nodes make of the constants `x` and `y` of an element type.
fn with_constants(
    kind: i32,
    values: [i32; 2],
    operator: &str,
    to: Option<i64>,
) -> Result<Vec<f32>, Error> {
    let made = match to {
        Some(to) => with_int(node(operator, "made", &["x"], "m"), "to", to),
        None => node(operator, "made", &["x", "y"], "m"),
    };
    let mut nodes: Vec<NodeProto> = vec![
        made,
        with_int(node("Cast", "number", &["m"], "k"), "to", 1),
        node("Mul", "times", &["image", "k"], "t"),
    ];
    nodes.extend(dense("t"));
    let mut model = ModelProto::decode(&bytes(nodes, &[0, 2, 4, 4], 1)[..]).unwrap();
    let constants = ["x", "y"].into_iter().zip(values).map(|(name, value)| {
        let float_data = if kind == 1 {
            vec![value as f32 + 0.7]
        } else {
            vec![]
        };
        TensorProto {
            name: name.to_string(),
            data_type: kind,
            int32_data: if kind == 1 { vec![] } else { vec![value] },
            float_data,
            ..Default::default()
        }
    });
    model.graph.as_mut().unwrap().initializer.extend(constants);
    let network = Network::from_bytes(&model.encode_to_vec())?;
    let imported = network.import(&crate::ImportOptions::default())?;
    Ok(sordino_graph::execute(&imported.graph, &[1.0; 32], 1)?)
}

#[test]
fn numbers_that_a_type_does_not_have_are_refused() {
    let one = with_constants(2, [1, 1], "Mul", None).unwrap()[0];
    // Type, constants, operator, target of a cast, and the factor that they make.
    let good = [
        (2, [200, 55], "Add", None, 255.0),
        (3, [-100, -28], "Add", None, -128.0),
        (6, [1 << 15, 1 << 15], "Mul", None, (1 << 30) as f32),
        (1, [254, 0], "Cast", Some(2), 254.0),
        (1, [-3, 0], "Cast", Some(7), -2.0),
    ];
    for (kind, values, operator, to, factor) in good {
        let found = with_constants(kind, values, operator, to).unwrap()[0];
        assert!(
            (found / (factor * one) - 1.0).abs() < 1e-5,
            "{operator} {values:?}: {found}"
        );
    }
    let refused = [
        (2, [200, 56], "Add", None, "uint8"),
        (2, [1, 2], "Sub", None, "uint8"),
        (3, [-100, -29], "Add", None, "int8"),
        (6, [1 << 16, 1 << 16], "Mul", None, "int32"),
        (1, [255, 0], "Cast", Some(3), "int8"),
        (1, [256, 0], "Cast", Some(2), "uint8"),
        (1, [-300, 0], "Cast", Some(2), "uint8"),
    ];
    for (kind, values, operator, to, part) in refused {
        let message = with_constants(kind, values, operator, to)
            .unwrap_err()
            .to_string();
        for part in [part, "made", operator] {
            assert!(message.contains(part), "no {part:?} in {message}");
        }
    }
}
