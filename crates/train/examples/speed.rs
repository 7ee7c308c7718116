//! Images a second that a network trains at, on random images.
//!
//! ```sh
//! cargo run --release -p sordino-train --example speed -- vgg5 element 2
//! ```

use sordino_data::Targets;
use sordino_graph::{ColorPolicy, Preprocess, SizePolicy};
use sordino_train::{Distillation, TrainConfig, Trainer, TrainingData};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [architecture, activation, threads] = &arguments[..] else {
        return Err("give an architecture, an activation and the number of threads".into());
    };
    let (batch, batches, elements) = (128, 12, 3 * 32 * 32);
    let images = (0..batch * batches * elements).map(|i| ((i * 7919) % 1009) as f32 / 1009.0);
    let data = TrainingData {
        dataset: "random".to_string(),
        preprocess: Preprocess {
            channels: 3,
            height: 32,
            width: 32,
            size: SizePolicy::Refuse,
            input_range: (0.0, 255.0),
            mean: vec![0.0; 3],
            std: vec![1.0; 3],
            allowed: (0.0, 255.0),
            color: ColorPolicy::Refuse,
            window: None,
        },
        classes: (0..10).map(|class| class.to_string()).collect(),
        images: images.collect(),
        labels: Targets::Classes((0..batch * batches).map(|i| (i % 10) as u16).collect()),
        validation: None,
    };
    let config = TrainConfig {
        activation: activation.parse()?,
        epochs: 1,
        batch,
        warmup_epochs: 0.1,
        validation: 0.0,
        threads: threads.parse()?,
        distillation: None::<Distillation>,
        ..Default::default()
    };
    let mut last = 0.0;
    let mut rates = Vec::new();
    Trainer::new(&data, &config).train(&architecture.parse()?, &mut |progress| {
        if !progress.epoch_is_over {
            rates.push(batch as f64 / (progress.seconds - last));
            last = progress.seconds;
        }
    })?;
    rates.sort_by(f64::total_cmp);
    println!(
        "{architecture}, {activation}, {threads} threads: median {:.0} images/s, best {:.0}",
        rates[rates.len() / 2],
        rates[rates.len() - 1]
    );
    Ok(())
}
