//! The quadratics that students start with.

use sordino_graph::Function;

/// Whether a function is near 0 far below and rises far above, as ReLU does.
pub(crate) fn is_like_relu(function: &Function) -> bool {
    match function {
        Function::Relu
        | Function::LeakyRelu { .. }
        | Function::PRelu { .. }
        | Function::Elu { .. }
        | Function::Selu { .. }
        | Function::Gelu { .. }
        | Function::Silu
        | Function::HardSwish
        | Function::Softplus
        | Function::Mish => true,
        Function::Clip { min, max } => *min == 0.0 && *max >= 3.0,
        _ => false,
    }
}

/// Least-squares fit `(a, b, c)` of a function under a mixture of normal distributions, one for each channel, of these
/// means and standard deviations.
pub(crate) fn fit_any(channels: &[(f64, f64)], function: impl Fn(usize, f64) -> f64) -> [f32; 3] {
    /// Steps of a standard deviation, on each side.
    const STEPS: i32 = 600;
    const STEP: f64 = 0.01;
    let count = channels.len() as f64;
    let mean = channels.iter().map(|(mean, _)| mean).sum::<f64>() / count;
    let second = channels
        .iter()
        .map(|(m, deviation)| (m - mean).powi(2) + deviation.powi(2));
    let size = (second.sum::<f64>() / count).sqrt();
    // Moments of t = (x - mean) / size, and of its powers with the function.
    let (mut moments, mut right) = ([0.0; 5], [0.0; 3]);
    for (channel, &(m, deviation)) in channels.iter().enumerate() {
        for step in -STEPS..=STEPS {
            let z = f64::from(step) * STEP;
            let weight = (-0.5 * z * z).exp();
            let x = m + deviation * z;
            let t = (x - mean) / size;
            let y = function(channel, x);
            for (power, moment) in moments.iter_mut().enumerate() {
                *moment += weight * t.powi(power as i32);
            }
            for (power, right) in right.iter_mut().enumerate() {
                *right += weight * y * t.powi(power as i32);
            }
        }
    }
    let [constant, slope, curvature] = solved(moments, right);
    let (a, b) = (curvature / (size * size), slope / size);
    [a, b - 2.0 * a * mean, constant - b * mean + a * mean * mean]
        .map(|coefficient| coefficient as f32)
}

/// Solves the normal equations of a quadratic, `sum_j moments[i + j] x_j = right[i]`, by Cramer's rule.
fn solved(moments: [f64; 5], right: [f64; 3]) -> [f64; 3] {
    let determinant = |m: [[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
            - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let matrix: [[f64; 3]; 3] = std::array::from_fn(|i| std::array::from_fn(|j| moments[i + j]));
    let whole = determinant(matrix);
    std::array::from_fn(|column| {
        let mut replaced = matrix;
        (0..3).for_each(|i| replaced[i][column] = right[i]);
        determinant(replaced) / whole
    })
}

/// Least-squares fit `(a, b, c)` of ReLU under a normal distribution of this mean and variance 1, by its first three
/// Hermite polynomials.
pub(crate) fn fit(mean: f32) -> [f32; 3] {
    let mean = f64::from(mean);
    let density = (-0.5 * mean * mean).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let below = 0.5 * libm::erfc(-mean / std::f64::consts::SQRT_2);
    let (constant, slope, curvature) = (density + mean * below, below, 0.5 * density);
    [
        curvature,
        slope - 2.0 * curvature * mean,
        constant - curvature - slope * mean + curvature * mean * mean,
    ]
    .map(|coefficient| coefficient as f32)
}
