//! A value times a function of itself: how exporters write SiLU, HardSwish, GELU and Mish.

use sordino_graph::Function;

use crate::computed::{Call, Called};

impl Call {
    /// The product with a line of the same node's value, if it is a known activation.
    pub(crate) fn times(&self, (slope, offset): (f64, f64)) -> Option<Self> {
        // u is the argument of the function; the line is `ratio * (u - zero)`.
        let ratio = slope / self.scale;
        let zero = self.shift - offset / ratio;
        let through = |place: f64| near(zero, place, 1e-6);
        let plain = self.offset == 0.0;
        let plus_one = near(self.offset / self.factor, 1.0, 1e-6);
        let call = |function, by: f64, shift: f64, factor: f64| {
            Some(Self {
                function: Called::Own(function),
                scale: snapped(by * self.scale),
                shift: by * (self.shift - shift),
                factor: snapped(factor * self.factor * ratio),
                offset: 0.0,
                ..self.clone()
            })
        };
        let close = |x: f32, y: f64| near(f64::from(x), y, 1e-6);
        match &self.function {
            Called::Own(Function::Sigmoid) if plain && through(0.0) => {
                call(Function::Silu, 1.0, 0.0, 1.0)
            }
            Called::Own(Function::HardSigmoid { alpha, beta })
                if plain && through(0.0) && close(*alpha, 1.0 / 6.0) && close(*beta, 0.5) =>
            {
                call(Function::HardSwish, 1.0, 0.0, 1.0)
            }
            // x * min(max(x + 3, 0), 6), a sixth of which is HardSwish.
            Called::Own(Function::Clip { min, max })
                if plain && through(3.0) && (*min, *max) == (0.0, 6.0) =>
            {
                call(Function::HardSwish, 1.0, 3.0, 6.0)
            }
            // x * min(max(x / 6 + 1 / 2, 0), 1)
            Called::Own(Function::Clip { min, max })
                if plain && through(0.5) && (*min, *max) == (0.0, 1.0) =>
            {
                call(Function::HardSwish, 6.0, 0.5, 1.0 / 6.0)
            }
            Called::Erf if plus_one && through(0.0) => {
                let root = std::f64::consts::SQRT_2;
                call(Function::Gelu { tanh: false }, root, 0.0, 2.0 / root)
            }
            Called::CubicTanh if plus_one && through(0.0) => {
                call(Function::Gelu { tanh: true }, 1.0, 0.0, 2.0)
            }
            Called::TanhSoftplus if plain && through(0.0) => call(Function::Mish, 1.0, 0.0, 1.0),
            _ => None,
        }
    }
}

pub(crate) fn near(x: f64, y: f64, tolerance: f64) -> bool {
    (x - y).abs() <= tolerance
}

/// Numbers that rounding kept from being one are one.
pub(crate) fn snapped(x: f64) -> f64 {
    if near(x, 1.0, 1e-6) { 1.0 } else { x }
}
