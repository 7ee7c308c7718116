//! Several findings per image: missing labels, rare findings, students.

use std::collections::BTreeMap;

use sordino_data::{LabelMatrix, Targets};
use sordino_graph::{ColorPolicy, Model, OutputKind, Preprocess, SizePolicy, execute};
use sordino_train::{
    Activation, Architecture, ClassWeights, Distillation, Error, Measure, TrainConfig, Trainer,
    TrainingData, train,
};

/// Values of an image.
const ELEMENTS: usize = 16;

/// Images of noise: the first finding moves the mean of the first half by much, the second, which a twentieth of them have, that of the
/// last half by little.
fn images(count: usize, mut state: u64, missing: u64) -> (Vec<f32>, Vec<Option<bool>>) {
    let mut below = |bound: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let found = [below(2) == 0, below(20) == 0];
        for at in 0..ELEMENTS {
            let noise = below(1000) as f32 / 1000.0;
            pixels.push(match at < ELEMENTS / 2 {
                true => noise + 0.5 * f32::from(u8::from(found[0])),
                false => noise + 0.2 * f32::from(u8::from(found[1])),
            });
        }
        labels.extend(found.map(|label| (below(100) >= missing).then_some(label)));
    }
    (pixels, labels)
}

fn matrix(labels: Vec<Option<bool>>) -> Targets {
    LabelMatrix::new(2, labels, "test").unwrap().into()
}

fn data(missing: u64) -> TrainingData {
    let (images, labels) = images_of(1200, 1, missing);
    TrainingData {
        dataset: "noise".to_string(),
        preprocess: Preprocess {
            channels: 1,
            height: 4,
            width: 4,
            size: SizePolicy::Refuse,
            input_range: (0.0, 2.0),
            mean: vec![0.0],
            std: vec![1.0],
            allowed: (0.0, 2.0),
            color: ColorPolicy::Refuse,
            window: None,
        },
        classes: vec!["frequent".to_string(), "rare".to_string()],
        images,
        labels,
        validation: None,
    }
}

fn images_of(count: usize, seed: u64, missing: u64) -> (Vec<f32>, Targets) {
    let (pixels, labels) = images(count, seed, missing);
    (pixels, matrix(labels))
}

fn config() -> TrainConfig {
    TrainConfig {
        epochs: 12,
        batch: 60,
        shift: 0,
        ..Default::default()
    }
}

/// Share of the images with each finding whose logit is positive.
fn recall(model: &Model) -> [f64; 2] {
    let (pixels, labels) = images(2000, 9, 0);
    let logits = execute(&model.graph, &pixels, 2000).unwrap();
    [0, 1].map(|class| {
        let (mut found, mut all) = (0.0, 0.0);
        for (row, labels) in logits.chunks(2).zip(labels.chunks(2)) {
            if labels[class] == Some(true) {
                all += 1.0;
                found += f64::from(u8::from(row[class] > 0.0));
            }
        }
        found / all
    })
}

#[test]
fn weights_and_balanced_sampling_find_more_of_a_rare_finding() {
    let data = data(10);
    let trained = |config: TrainConfig| {
        let mut measures = Vec::new();
        let mut progress = |progress: &sordino_train::Progress| {
            measures.extend(progress.validation_score.map(|_| progress.measure));
        };
        let model = train(&Architecture::Mlp, &data, &config, &mut progress).unwrap();
        assert_eq!(model.output, OutputKind::Sigmoid);
        assert_eq!(measures, [Measure::MeanAuc; 12]);
        assert!(model.training["validation_auc"].as_f64().unwrap() > 0.7);
        assert!(model.training.get("validation_accuracy").is_none());
        recall(&model)
    };
    let plain = trained(config());
    let weighted = trained(TrainConfig {
        class_weights: ClassWeights::Balanced,
        ..config()
    });
    let balanced = trained(TrainConfig {
        balanced_sampling: true,
        ..config()
    });
    let text = format!("{plain:?} {weighted:?} {balanced:?}");
    assert!(plain[0] > 0.9 && plain[1] < 0.4, "{text}");
    assert!(weighted[0] > 0.9 && weighted[1] > plain[1] + 0.2, "{text}");
    assert!(balanced[0] > 0.9 && balanced[1] > plain[1] + 0.2, "{text}");
}

#[test]
fn a_student_learns_findings_from_a_teacher_with_sigmoids_only() {
    let mut data = data(95);
    let config = TrainConfig {
        epochs: 4,
        activation: Activation::Relu,
        ..config()
    };
    let full = TrainingData {
        labels: images_of(1200, 1, 0).1,
        ..data.clone()
    };
    let mut teacher = train(&Architecture::Mlp, &full, &config, &mut |_| ()).unwrap();
    let student = TrainConfig {
        epochs: 8,
        distillation: Some(Distillation {
            weight: 1.0,
            ..Default::default()
        }),
        ..self::config()
    };
    // Nearly all labels are missing: the teacher has the word.
    let distilled = Trainer::new(&data, &student)
        .distill(&teacher, &mut |_| ())
        .unwrap();
    assert_eq!(distilled.output, OutputKind::Sigmoid);
    assert!(recall(&distilled)[0] > 0.85, "{:?}", recall(&distilled));

    teacher.output = OutputKind::Softmax;
    let refused = Trainer::new(&data, &student).distill(&teacher, &mut |_| ());
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("--scores sigmoid"), "{message}");

    data.validation = Some(images_of(10, 2, 100));
    let mut measures = BTreeMap::new();
    let mut progress = |progress: &sordino_train::Progress| {
        measures.insert(
            progress.epoch,
            (progress.measure, progress.validation_score),
        );
    };
    let one = TrainConfig {
        epochs: 1,
        ..self::config()
    };
    train(&Architecture::Mlp, &data, &one, &mut progress).unwrap();
    // Nothing is known of the validation images.
    assert_eq!(measures[&1], (Measure::RightDecisions, Some(0.0)));
}

#[test]
fn weights_of_other_classes_are_refused_by_name() {
    let config = TrainConfig {
        class_weights: ClassWeights::Given(vec![1.0; 3]),
        ..config()
    };
    let error = train(&Architecture::Mlp, &data(0), &config, &mut |_| ()).unwrap_err();
    assert!(
        matches!(&error, Error::Config { field: "class_weights", found, .. } if found.contains("3 for 2")),
        "{error}"
    );
}
