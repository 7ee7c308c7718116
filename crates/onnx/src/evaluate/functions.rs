//! Functions of one value, by ONNX's definitions.

use crate::Error;
use crate::attributes::Attributes;

pub(super) type Unary = Box<dyn Fn(f64) -> f64>;

/// The function of an operator that reads one value, by ONNX's definition; `None` for others.
pub(super) fn unary(at: Attributes) -> Result<Option<Unary>, Error> {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    Ok(Some(match at.operator() {
        "Neg" => Box::new(|x| -x),
        "Abs" => Box::new(f64::abs),
        "Sqrt" => Box::new(f64::sqrt),
        "Exp" => Box::new(f64::exp),
        "Log" => Box::new(f64::ln),
        "Reciprocal" => Box::new(|x| 1.0 / x),
        "Floor" => Box::new(f64::floor),
        "Ceil" => Box::new(f64::ceil),
        "Round" => Box::new(f64::round_ties_even),
        "Sign" => Box::new(|x| if x == 0.0 { 0.0 } else { x.signum() }),
        "Erf" => Box::new(libm::erf),
        "Sin" => Box::new(f64::sin),
        "Cos" => Box::new(f64::cos),
        "Relu" => Box::new(|x| x.max(0.0)),
        "Tanh" => Box::new(f64::tanh),
        "Sigmoid" => Box::new(sigmoid),
        "Softplus" => Box::new(softplus),
        "Softsign" => Box::new(|x| x / (1.0 + x.abs())),
        "HardSwish" => Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        "Mish" => Box::new(move |x| x * softplus(x).tanh()),
        "Swish" => {
            let alpha = at.float("alpha", 1.0)?;
            Box::new(move |x| x * sigmoid(alpha * x))
        }
        "LeakyRelu" => {
            let alpha = at.float("alpha", 0.01)?;
            Box::new(move |x| if x < 0.0 { alpha * x } else { x })
        }
        "ThresholdedRelu" => {
            let alpha = at.float("alpha", 1.0)?;
            Box::new(move |x| if x > alpha { x } else { 0.0 })
        }
        "Elu" => {
            let alpha = at.float("alpha", 1.0)?;
            Box::new(move |x| if x < 0.0 { alpha * x.exp_m1() } else { x })
        }
        "Celu" => {
            let alpha = at.float("alpha", 1.0)?;
            Box::new(move |x| x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0))
        }
        "Selu" => {
            let (alpha, gamma) = (
                at.float("alpha", SELU_ALPHA)?,
                at.float("gamma", SELU_GAMMA)?,
            );
            Box::new(move |x| gamma * if x < 0.0 { alpha * x.exp_m1() } else { x })
        }
        "HardSigmoid" => {
            let (alpha, beta) = (at.float("alpha", 0.2)?, at.float("beta", 0.5)?);
            Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        "Gelu" => match at.text("approximate", "none")? {
            "none" => {
                Box::new(|x| x * 0.5 * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)))
            }
            "tanh" => Box::new(|x| {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }),
            other => {
                return Err(at.wrong(format!("approximate is {other:?}, expected none or tanh")));
            }
        },
        _ => return Ok(None),
    }))
}

/// ONNX's defaults of `Selu`.
pub(crate) const SELU_ALPHA: f32 = 1.673_263_2;
pub(crate) const SELU_GAMMA: f32 = 1.050_701;
