//! A ReLU network becomes a polynomial one; interrupted runs resume exactly.

use std::fs;

use sordino_data::{Targets, digits};
use sordino_graph::{Model, Op, execute};
use sordino_train::{
    Activation, Architecture, Distillation, Error, Optimizer, TrainConfig, Trainer, TrainingData,
};

fn data() -> TrainingData {
    TrainingData::from_set(&digits()).unwrap()
}

fn accuracy(model: &Model) -> f64 {
    let test = digits().test;
    let images = sordino_data::prepare(&test, &model.preprocess, None).unwrap();
    let logits = execute(&model.graph, &images, test.len()).unwrap();
    let rows = logits.chunks_exact(model.classes.len());
    let right = rows
        .zip(test.labels.as_ref().unwrap())
        .filter(|(row, label)| {
            let best = |best, class| if row[class] > row[best] { class } else { best };
            (0..row.len()).fold(0, best) == usize::from(**label)
        });
    right.count() as f64 / test.len() as f64
}

fn teacher(data: &TrainingData) -> Model {
    let config = TrainConfig {
        activation: Activation::Relu,
        epochs: 40,
        ..TrainConfig::for_architecture(&Architecture::Digits)
    };
    let trainer = Trainer::new(data, &config);
    trainer.train(&Architecture::Digits, &mut |_| ()).unwrap()
}

fn student_config(epochs: usize) -> TrainConfig {
    TrainConfig {
        epochs,
        learning_rate: 1e-3,
        warmup_epochs: 0.5,
        blend_epochs: 1.0,
        distillation: Some(Distillation {
            weight: 0.7,
            temperature: 2.0,
            features: 0.1,
        }),
        ..TrainConfig::for_architecture(&Architecture::Digits)
    }
}

#[test]
fn a_student_of_each_granularity_is_as_good_as_its_teacher() {
    let data = data();
    let teacher = teacher(&data);
    let best = accuracy(&teacher);
    assert!(best > 0.93, "{best}");
    for activation in [Activation::Layer, Activation::Channel, Activation::Element] {
        let config = TrainConfig {
            activation,
            ..student_config(20)
        };
        let trainer = Trainer::new(&data, &config);
        let student = trainer.distill(&teacher, &mut |_| ()).unwrap();
        let found = accuracy(&student);
        println!("{activation}: {found:.4}, teacher {best:.4}");
        assert!(
            found >= best - 0.02,
            "{activation}: {found}, teacher {best}"
        );
        let quadratics = student.graph.nodes().iter().filter(|node| {
            matches!(&node.op, Op::Quadratic { granularity, .. } if Some(*granularity) == activation.granularity())
        });
        assert_eq!(quadratics.count(), 2);
        assert!(student.calibration.is_some());
        assert_eq!(
            student.training["teacher"]["digest"],
            serde_json::json!(teacher.digest().unwrap())
        );
    }
}

#[test]
fn an_interrupted_run_resumes_to_the_same_model_with_any_number_of_threads() {
    let data = data();
    let teacher = teacher(&data);
    let config = TrainConfig {
        validation: 0.2,
        ..student_config(5)
    };
    let folder = tempfile::tempdir().unwrap();
    let (running, stopped) = (folder.path().join("running"), folder.path().join("stopped"));
    let whole = Trainer::new(&data, &config)
        .checkpoint(&running)
        .distill(&teacher, &mut |progress| {
            // What a run that was killed here would have left.
            if progress.epoch_is_over && progress.epoch == 2 {
                fs::copy(&running, &stopped).unwrap();
            }
        })
        .unwrap();
    let threads = TrainConfig {
        threads: 2,
        ..config.clone()
    };
    let mut first = None;
    let resumed = Trainer::new(&data, &threads)
        .checkpoint(&stopped)
        .distill(&teacher, &mut |progress| {
            first.get_or_insert(progress.epoch);
        })
        .unwrap();
    assert!(first.unwrap() > 2, "{first:?}");
    assert_eq!(resumed.graph, whole.graph);
    assert_eq!(resumed.calibration, whole.calibration);

    // A finished run has nothing left to do.
    let again = Trainer::new(&data, &config)
        .checkpoint(&running)
        .distill(&teacher, &mut |_| panic!("no epoch is left"))
        .unwrap();
    assert_eq!(again, whole);
}

#[test]
fn a_run_that_gets_no_better_stops_early_and_keeps_its_best_epoch() {
    let mut data = data();
    // Validation labels that cannot be learnt: accuracy there goes up and down.
    let count = 50;
    let images = data.images[..count * 64].to_vec();
    let labels = (0..count).map(|index| (index * index % 10) as u16);
    data.validation = Some((images, Targets::Classes(labels.collect())));
    let config = TrainConfig {
        epochs: 200,
        patience: 2,
        ..TrainConfig::for_architecture(&Architecture::Digits)
    };
    let mut found: Vec<f64> = Vec::new();
    let model = Trainer::new(&data, &config)
        .train(&Architecture::Digits, &mut |progress| {
            if progress.epoch_is_over {
                found.push(progress.validation_score.unwrap());
            }
        })
        .unwrap();
    assert!(found.len() < 200, "{found:?}");
    let kept = model.training["epoch"].as_u64().unwrap() as usize;
    assert_eq!(kept + 2, found.len(), "{found:?}");
    let best = found[kept - 1];
    assert!(found.iter().all(|accuracy| *accuracy <= best), "{found:?}");
    assert_eq!(model.training["validation_accuracy"], best);
}

#[test]
fn descent_with_momentum_learns_too() {
    let data = data();
    let config = TrainConfig {
        optimizer: Optimizer::Sgd { momentum: 0.9 },
        learning_rate: 0.05,
        weight_decay: 0.01,
        epochs: 20,
        ..TrainConfig::for_architecture(&Architecture::Digits)
    };
    let trainer = Trainer::new(&data, &config);
    let model = trainer.train(&Architecture::Digits, &mut |_| ()).unwrap();
    let found = accuracy(&model);
    assert!(found > 0.9, "{found}");
}

#[test]
fn checkpoints_of_other_runs_and_damaged_ones_are_refused() {
    let data = data();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let config = TrainConfig {
        epochs: 1,
        ..TrainConfig::for_architecture(&Architecture::Digits)
    };
    let run = |config: &TrainConfig| {
        let trainer = Trainer::new(&data, config).checkpoint(&path);
        trainer.train(&Architecture::Digits, &mut |_| ())
    };
    run(&config).unwrap();
    let other = TrainConfig {
        seed: 77,
        ..config.clone()
    };
    let message = run(&other).unwrap_err().to_string();
    assert!(
        message.contains("77") && message.contains("seed"),
        "{message}"
    );
    let good = fs::read(&path).unwrap();
    for damage in [&good[..good.len() / 2], b"", b"not a checkpoint at all"] {
        fs::write(&path, damage).unwrap();
        let error = run(&config).unwrap_err();
        assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damage, "nothing is overwritten");
    }
}

#[test]
fn a_teacher_for_other_images_or_classes_is_refused() {
    let data = data();
    let mut teacher = teacher(&data);
    let config = student_config(1);
    let refuse = |teacher: &Model| {
        let error = Trainer::new(&data, &config).distill(teacher, &mut |_| ());
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Teacher { .. }), "{error}");
    };
    teacher.preprocess.mean = vec![0.5];
    refuse(&teacher);
    teacher.preprocess.mean = vec![0.0];
    let mut fewer = data.clone();
    fewer.classes.pop();
    let labels = data.labels.classes().unwrap().iter();
    fewer.labels = Targets::Classes(labels.map(|label| label % 9).collect());
    let error = Trainer::new(&fewer, &config).distill(&teacher, &mut |_| ());
    assert!(matches!(error.unwrap_err(), Error::Teacher { .. }));
}
