//! Operations of our own under the tensor library's automatic differentiation.
//!
//! Convolution, normalization with activation, and pooling are where training spends its time, and each is several
//! times faster as one loop over plain slices than composed of the library's operations. Each splits its work by the
//! batch and the layer alone, so results do not depend on the number of threads.

mod convolution;
mod normalize;
mod pool;

pub(crate) use convolution::Convolution;
pub(crate) use normalize::{Function, Normalize, Terms};
pub(crate) use pool::AveragePool;

use std::fmt::Debug;

use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::{BackendTypes, TensorData};
use burn_flex::{Flex, FlexTensor};
use burn_tensor::Tensor;

/// A differentiable function of `N` tensors.
pub(crate) trait Kernel<const N: usize>: Clone + Debug + Send + 'static {
    /// The result `[images][elements]`; what the gradient needs again may be kept in `self`.
    fn forward(&mut self, inputs: [&[f32]; N]) -> Vec<f32>;

    /// The gradients of the inputs that are `wanted`, given that of the result.
    fn backward(
        &self,
        inputs: [&[f32]; N],
        gradient: &[f32],
        wanted: [bool; N],
    ) -> [Option<Vec<f32>>; N];
}

/// The kernel's result, `[images][elements]`, with its gradient noted where an input is tracked.
pub(crate) fn apply<const N: usize, K: Kernel<N>>(
    kernel: &mut K,
    images: usize,
    inputs: [Input; N],
) -> Tensor<2> {
    let tensors = inputs.each_ref().map(Input::contiguous);
    let result = kernel.forward(tensors.each_ref().map(slice));
    let elements = result.len() / images;
    let result = FlexTensor::from_data(TensorData::new(result, [images, elements]));
    if inputs.iter().any(|input| matches!(input, Input::Plain(_))) {
        return Tensor::from_primitive::<Flex>(result);
    }
    let nodes = inputs.map(|input| match input {
        Input::Tracked(tensor) => tensor.node(),
        Input::Plain(_) => unreachable!("returned above"),
    });
    let operation = Operation::<K, N>(std::marker::PhantomData);
    let result = match operation
        .prepare::<NoCheckpointing>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(step) => step.finish((kernel.clone(), tensors), result),
        OpsKind::UnTracked(step) => step.finish(result),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(result)
}

type AutodiffTensor = <Autodiff<Flex> as BackendTypes>::FloatTensorPrimitive;

/// A tensor on the plain or on the differentiating device.
pub(crate) enum Input {
    Plain(FlexTensor),
    Tracked(AutodiffTensor),
}

impl<const D: usize> From<Tensor<D>> for Input {
    fn from(tensor: Tensor<D>) -> Self {
        match tensor.clone().try_into_primitive::<Autodiff<Flex>>() {
            Ok(tensor) => Self::Tracked(tensor),
            Err(_) => Self::Plain(
                tensor
                    .try_into_primitive::<Flex>()
                    .expect("the trainer has no other device"),
            ),
        }
    }
}

impl Input {
    fn contiguous(&self) -> FlexTensor {
        match self {
            Self::Plain(tensor) => tensor.to_contiguous(),
            Self::Tracked(tensor) => tensor.primitive().to_contiguous(),
        }
    }
}

fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice()
        .expect("made contiguous; the trainer has f32 only")
}

/// What automatic differentiation remembers of a kernel.
#[derive(Debug)]
struct Operation<K, const N: usize>(std::marker::PhantomData<fn() -> K>);

impl<K: Kernel<N>, const N: usize> Backward<Flex, N> for Operation<K, N> {
    type State = (K, [FlexTensor; N]);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (kernel, inputs) = ops.state;
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = kernel.backward(inputs.each_ref().map(slice), slice(&gradient), wanted);
        for ((parent, values), input) in ops.parents.into_iter().zip(found).zip(&inputs) {
            let (Some(parent), Some(values)) = (parent, values) else {
                continue;
            };
            let shape = input.layout().shape().clone();
            let values = FlexTensor::from_data(TensorData::new(values, shape));
            gradients.register::<Flex>(parent.id, values);
        }
    }
}
