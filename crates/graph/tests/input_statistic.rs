//! The statistic of the inputs: what it finds, what it lets pass, and what files of it are refused.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sordino_graph::{
    ColorPolicy, Error, InputGuard, InputStatistic, Preprocess, Score, SizePolicy,
    input_statistic_text,
};

fn preprocess(channels: usize, side: usize) -> Preprocess {
    Preprocess {
        channels,
        height: side,
        width: side,
        size: SizePolicy::Refuse,
        input_range: (0.0, 255.0),
        mean: vec![0.4; channels],
        std: vec![0.3; channels],
        allowed: (0.0, 255.0),
        color: ColorPolicy::Refuse,
        window: None,
    }
}

fn unit(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) / 2.0_f64.powi(32)
}

/// A prepared image of raw values in whole numbers.
fn prepared(preprocess: &Preprocess, raw: impl Fn(usize, f64, f64) -> f64) -> Vec<f32> {
    let (height, width) = (preprocess.height, preprocess.width);
    let mut image = Vec::new();
    for channel in 0..preprocess.channels {
        for row in 0..height {
            for column in 0..width {
                let (y, x) = (row as f64 / height as f64, column as f64 / width as f64);
                let value = raw(channel, y, x).clamp(0.0, 255.0).round();
                image.push(preprocess.normalize(channel, value) as f32);
            }
        }
    }
    image
}

/// Bright blobs on a dark ground, with some noise.
fn blob(preprocess: &Preprocess, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let (y0, x0) = (0.3 + 0.4 * unit(rng), 0.3 + 0.4 * unit(rng));
    let (size, height) = (0.1 + 0.2 * unit(rng), 120.0 + 100.0 * unit(rng));
    let noise = rng.next_u32() as usize;
    prepared(preprocess, |channel, y, x| {
        let distance = ((y - y0).powi(2) + (x - x0).powi(2)) / size.powi(2);
        let grain =
            (noise.wrapping_add((y * 7919.0 + x * 104_729.0) as usize) * 2_654_435_761) % 17;
        height * (-distance).exp() * (1.0 - 0.1 * channel as f64) + grain as f64
    })
}

fn blobs(preprocess: &Preprocess, count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .flat_map(|_| blob(preprocess, &mut rng))
        .collect()
}

fn noise(preprocess: &Preprocess, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let plane = preprocess.height * preprocess.width;
    let pixel =
        |place| preprocess.normalize(place / plane, (256.0 * unit(&mut rng)).floor()) as f32;
    (0..preprocess.elements()).map(pixel).collect()
}

fn inverted(preprocess: &Preprocess, image: &[f32]) -> Vec<f32> {
    let plane = preprocess.height * preprocess.width;
    let pixel = |(place, &value): (usize, &f32)| {
        let channel = place / plane;
        preprocess.normalize(channel, 255.0 - preprocess.raw(channel, f64::from(value))) as f32
    };
    image.iter().enumerate().map(pixel).collect()
}

#[test]
fn images_that_do_not_belong_are_found_and_others_are_not() {
    for (channels, side) in [(1, 28), (3, 32), (1, 96), (1, 6)] {
        let preprocess = preprocess(channels, side);
        let images = blobs(&preprocess, 600, 1);
        let statistic = InputStatistic::record(&preprocess, &images).unwrap();
        let guard = InputGuard::new(&statistic, &preprocess).unwrap();
        for image in images.chunks_exact(preprocess.elements()) {
            assert_eq!(guard.unusual(image), None, "an image of the calibration");
        }
        let others = blobs(&preprocess, 300, 2);
        let mut others = others.chunks_exact(preprocess.elements());
        assert!(
            others.all(|image| guard.unusual(image).is_none()),
            "usual images"
        );
        let unusual = |what: &str, image: &[f32]| {
            assert!(
                guard.unusual(image).is_some(),
                "{side}: {what} passed: {:?}",
                guard.scores(image)
            );
        };
        unusual("noise", &noise(&preprocess, 3));
        unusual(
            "an inverted image",
            &inverted(&preprocess, &images[..preprocess.elements()]),
        );
        for cell in [1, 2, 3, 5, 8, 14] {
            let pixel = |x: f64| (x * side as f64).round() as usize / cell;
            let board = |y, x| f64::from(u8::from((pixel(y) + pixel(x)) % 2 == 0));
            unusual(
                "a checkerboard",
                &prepared(&preprocess, |_, y, x| 255.0 * board(y, x)),
            );
            let stripe = |x: f64| f64::from(u8::from(pixel(x) % 2 == 0));
            unusual(
                "stripes",
                &prepared(&preprocess, |_, _, x| 255.0 * stripe(x)),
            );
        }
    }
}

#[test]
fn the_reason_names_the_score_and_its_limit() {
    let preprocess = preprocess(1, 32);
    let images = blobs(&preprocess, 400, 1);
    let statistic = InputStatistic::record(&preprocess, &images).unwrap();
    let guard = InputGuard::new(&statistic, &preprocess).unwrap();
    let reason = guard.unusual(&noise(&preprocess, 1)).unwrap();
    assert!(reason.value > reason.limit);
    let scores = guard.scores(&noise(&preprocess, 1));
    assert!(scores.contains(&(reason.score, reason.value)));
    assert_eq!(
        scores[2].0,
        Score::Detail {
            period: 2,
            colour: false
        }
    );
    assert!(reason.to_string().contains("usual up to"), "{reason}");
    // What is not a number never passes.
    assert!(guard.unusual(&vec![f32::NAN; 1024]).is_some());
}

#[test]
fn typical_images_have_the_recorded_mean_and_contrast_and_are_usual() {
    for channels in [1, 3] {
        let preprocess = preprocess(channels, 28);
        let elements = preprocess.elements();
        let images = blobs(&preprocess, 800, 1);
        let statistic = InputStatistic::record(&preprocess, &images).unwrap();
        let guard = InputGuard::new(&statistic, &preprocess).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let drawn: Vec<Vec<f32>> = (0..400)
            .map(|_| guard.typical_image(0.5, &mut rng))
            .collect();
        assert!(drawn.iter().all(|image| guard.unusual(image).is_none()));
        assert_ne!(drawn[0], drawn[1]);
        let (low, high) = (preprocess.normalize(0, 0.0), preprocess.normalize(0, 255.0));
        let inside = |&value: &f32| (low as f32..=high as f32).contains(&value);
        assert!(drawn.iter().flatten().all(inside));
        // The middle pixel: its mean is that of the images, its deviation about half as large.
        let middle = 14 * 28 + 14;
        let moments = |values: &[f32]| {
            let count = values.len() as f32;
            let mean = values.iter().sum::<f32>() / count;
            let square = values
                .iter()
                .map(|value| (value - mean).powi(2))
                .sum::<f32>()
                / count;
            (mean, square.sqrt())
        };
        let of_images: Vec<f32> = images
            .chunks_exact(elements)
            .map(|image| image[middle])
            .collect();
        let of_drawn: Vec<f32> = drawn.iter().map(|image| image[middle]).collect();
        let ((mean, deviation), (drawn_mean, drawn_deviation)) =
            (moments(&of_images), moments(&of_drawn));
        assert!(
            (mean - drawn_mean).abs() < 0.15 * deviation,
            "{mean} {drawn_mean}"
        );
        let contrast = drawn_deviation / deviation;
        assert!((0.2..0.6).contains(&contrast), "{contrast}");
        let again = guard.typical_image(0.5, &mut ChaCha8Rng::seed_from_u64(4));
        assert_eq!(again, drawn[0]);
    }
}

#[test]
fn the_nearest_usual_image_is_usual_and_near() {
    for channels in [1, 3] {
        let preprocess = preprocess(channels, 28);
        let images = blobs(&preprocess, 400, 1);
        let statistic = InputStatistic::record(&preprocess, &images).unwrap();
        let guard = InputGuard::new(&statistic, &preprocess).unwrap();
        let usual = &images[..preprocess.elements()];
        assert_eq!(guard.nearest_usual(usual), usual);
        let again = guard.image(&guard.coefficients(usual));
        assert!(again.iter().zip(usual).all(|(x, y)| (x - y).abs() < 1e-5));
        let noise = noise(&preprocess, 1);
        let brighter: Vec<f32> = usual
            .iter()
            .zip(&noise)
            .map(|(x, y)| 0.9 * x + 0.1 * y)
            .collect();
        assert!(guard.unusual(&brighter).is_some());
        let near = guard.nearest_usual(&brighter);
        assert_eq!(guard.unusual(&near), None);
        let distance =
            |x: &[f32], y: &[f32]| -> f32 { x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum() };
        let (to_near, to_mean) = (
            distance(&near, &brighter),
            distance(&guard.nearest_usual(&noise), &brighter),
        );
        assert!(to_near < 0.8 * to_mean, "{to_near} {to_mean}");
        for unusual in [noise, inverted(&preprocess, usual)] {
            assert_eq!(guard.unusual(&guard.nearest_usual(&unusual)), None);
        }
    }
}

#[test]
fn the_statistic_does_not_depend_on_threads_or_normalization() {
    let preprocess = preprocess(3, 16);
    let images = blobs(&preprocess, 500, 1);
    let record = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| InputStatistic::record(&preprocess, &images).unwrap())
    };
    assert_eq!(record(1), record(3));
    let other = Preprocess {
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
        ..preprocess.clone()
    };
    let plane = 256;
    let moved = |(place, &value): (usize, &f32)| {
        let channel = place / plane % 3;
        other.normalize(channel, preprocess.raw(channel, f64::from(value)).round()) as f32
    };
    let moved: Vec<f32> = images.iter().enumerate().map(moved).collect();
    let moved = InputStatistic::record(&other, &moved).unwrap();
    for (x, y) in moved.deviation.iter().zip(&record(1).deviation) {
        assert!((x / y - 1.0).abs() < 2e-3, "{x} {y}");
    }
}

#[test]
fn large_images_share_numbers() {
    let preprocess = preprocess(3, 224);
    let images = blobs(&preprocess, 8, 1);
    let statistic = InputStatistic::record(&preprocess, &images).unwrap();
    assert_eq!(statistic.mean.len(), 3 * 64 * 64);
    let guard = InputGuard::new(&statistic, &preprocess).unwrap();
    assert!(guard.unusual(&noise(&preprocess, 1)).is_some());
    assert_eq!(guard.unusual(&images[..preprocess.elements()]), None);
}

#[test]
fn images_that_are_none_are_refused() {
    let preprocess = preprocess(1, 8);
    for values in [0, 63, 65] {
        let error = InputStatistic::record(&preprocess, &vec![0.0; values]).unwrap_err();
        assert!(matches!(error, Error::Calibrate { .. }), "{error}");
    }
    let error = InputStatistic::record(&preprocess, &[f32::INFINITY; 64]).unwrap_err();
    assert!(error.to_string().contains("image 0 holds inf"), "{error}");
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Header {
    #[serde(with = "input_statistic_text")]
    input: Option<InputStatistic>,
}

#[test]
fn text_gives_the_statistic_back_and_damaged_text_is_refused() {
    let preprocess = preprocess(1, 28);
    let input = InputStatistic::record(&preprocess, &blobs(&preprocess, 50, 1)).unwrap();
    let json = serde_json::to_string(&Header {
        input: Some(input.clone()),
    })
    .unwrap();
    assert!(json.len() < 12_000, "{}", json.len());
    let read: Header = serde_json::from_str(&json).unwrap();
    assert_eq!(read.input, Some(input));
    let read: Header = serde_json::from_str(r#"{"input":null}"#).unwrap();
    assert_eq!(read.input, None);
    let start = json.find("mean").unwrap() + 7;
    for damage in ["!", "AAA="] {
        let mut damaged = json.clone();
        damaged.replace_range(start..start + damage.len(), damage);
        assert!(
            serde_json::from_str::<Header>(&damaged).is_err(),
            "{damage}"
        );
    }
}

#[test]
fn numbers_that_cannot_be_used_are_refused() {
    let preprocess = preprocess(1, 28);
    let good = InputStatistic::record(&preprocess, &blobs(&preprocess, 50, 1)).unwrap();
    good.validate(&preprocess).unwrap();
    type Change = fn(&mut InputStatistic);
    let changes: [(&str, Change); 10] = [
        ("0 images", |s| s.images = 0),
        ("mean", |s| s.mean.truncate(5)),
        ("deviation", |s| s.deviation.push(1.0)),
        ("whitening", |s| s.whitening.clear()),
        ("limits", |s| s.limits.push(1.0)),
        ("NaN", |s| s.mean[3] = f32::NAN),
        ("inf", |s| s.whitening[2] = f32::INFINITY),
        ("positive", |s| s.deviation[0] = 0.0),
        ("positive", |s| s.whitening[2] = -1.0),
        ("positive", |s| s.limits[0] = f64::NAN),
    ];
    for (what, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        let error = bad.validate(&preprocess).unwrap_err().to_string();
        assert!(
            error.contains(what) && error.contains("sordino ranges"),
            "{error}"
        );
        assert!(InputGuard::new(&bad, &preprocess).is_err());
    }
    let other = Preprocess {
        height: 27,
        ..preprocess
    };
    assert!(good.validate(&other).is_err());
}
