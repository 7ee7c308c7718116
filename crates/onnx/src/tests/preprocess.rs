//! Settings of images: as TOML, and as timm and torchvision print them.

use sordino_fault::{Classified, Fault};
use sordino_graph::{ColorPolicy, Filter, Preprocess, SizePolicy, Window};

use crate::ImageSettings;

/// `print(timm.data.resolve_model_data_config(model))` of timm 1.0.31.
const TIMM: &str = "{'input_size': (3, 224, 224), 'interpolation': 'bicubic', 'mean': (0.485, 0.456, 0.406), \
                    'std': (0.229, 0.224, 0.225), 'crop_pct': 0.95, 'crop_mode': 'center'}\n";

/// `print(torchvision.models.ResNet18_Weights.DEFAULT.transforms())` of torchvision 0.29.2.
const TORCHVISION: &str = "ImageClassification(
    crop_size=[224]
    resize_size=[256]
    mean=[0.485, 0.456, 0.406]
    std=[0.229, 0.224, 0.225]
    interpolation=InterpolationMode.BILINEAR
)
";

fn preprocess(text: &str, shape: [usize; 3]) -> Preprocess {
    let settings = ImageSettings::parse(text).unwrap();
    let preprocess = settings.preprocess(shape, false).unwrap();
    preprocess.validate().unwrap();
    preprocess
}

fn refused(text: &str, shape: [usize; 3], expected: &str) {
    let settings = ImageSettings::parse(text);
    let found = settings.and_then(|settings| settings.preprocess(shape, false));
    let error = found.expect_err(text);
    assert_eq!(error.fault(), Fault::BadFile);
    let message = error.to_string();
    assert!(message.contains(expected), "{text}: {message}");
}

#[test]
fn every_key_of_the_settings_is_read() {
    let text = r#"
        # Hounsfield units of the brain
        mean = [0.5]
        std = [0.25]
        input_range = [0, 1]
        allowed = [0, 1.5]
        size = "crop"
        shorter = 32
        filter = "area"
        color = "convert"
        window = { center = 40, width = 80 }
    "#;
    let expected = Preprocess {
        channels: 1,
        height: 28,
        width: 24,
        size: SizePolicy::Crop {
            filter: Filter::Area,
            shorter: 32,
        },
        input_range: (0.0, 1.0),
        mean: vec![0.5],
        std: vec![0.25],
        allowed: (0.0, 1.5),
        color: ColorPolicy::Convert,
        window: Some(Window::Given {
            center: 40.0,
            width: 80.0,
        }),
    };
    assert_eq!(preprocess(text, [1, 28, 24]), expected);
    // What is left out has its default.
    let plain = preprocess("mean = [0.5]", [3, 28, 24]);
    assert_eq!(
        (plain.size, plain.color),
        (SizePolicy::Refuse, ColorPolicy::Refuse)
    );
    assert_eq!(
        (plain.input_range, plain.allowed),
        ((0.0, 255.0), (0.0, 255.0))
    );
    assert_eq!(
        (&plain.mean[..], &plain.std[..]),
        (&[0.5; 3][..], &[1.0; 3][..])
    );
    let crop = preprocess("size = \"crop\"", [3, 28, 24]).size;
    let filter = Filter::Bilinear;
    assert_eq!(
        crop,
        SizePolicy::Crop {
            filter,
            shorter: 28
        }
    );
    let stretch = preprocess("size = \"stretch\"\nstretched = [30, 40]", [3, 28, 24]).size;
    let expected = SizePolicy::Stretch {
        filter,
        height: 30,
        width: 40,
    };
    assert_eq!(stretch, expected);
    let pad = preprocess(
        "size = \"pad\"\nfilter = \"nearest\"\nwindow = \"file\"",
        [3, 28, 24],
    );
    assert_eq!(
        pad.size,
        SizePolicy::Pad {
            filter: Filter::Nearest
        }
    );
    assert_eq!(pad.window, Some(Window::File));
}

#[test]
fn settings_that_are_unknown_or_contradict_each_other_are_refused() {
    for (text, expected) in [
        ("means = [0.5]", "means"),
        ("mean = [0.5, 0.5]", "2 values for the mean"),
        ("size = \"squash\"", "squash"),
        ("filter = \"bilinear\"", "filter is there without size"),
        (
            "size = \"pad\"\nshorter = 30",
            "shorter is there without size",
        ),
        (
            "size = \"crop\"\nstretched = [30, 30]",
            "stretched is there without size",
        ),
        ("size = \"pad\"\nfilter = \"lanczos\"", "lanczos"),
        ("window = { center = 40 }", "window"),
        ("window = \"lung\"", "window"),
        ("", "expected settings in TOML"),
        ("hello", "expected settings in TOML"),
    ] {
        refused(text, [1, 28, 28], expected);
    }
    // What can only be known with the network.
    let small = ImageSettings::parse("size = \"crop\"\nshorter = 27").unwrap();
    let small = small.preprocess([1, 28, 28], false).unwrap();
    assert!(
        small
            .validate()
            .unwrap_err()
            .to_string()
            .contains("cannot be cut out")
    );
}

#[test]
fn what_timm_prints_is_read() {
    let found = preprocess(TIMM, [3, 224, 224]);
    let filter = Filter::Bicubic;
    assert_eq!(
        found.size,
        SizePolicy::Crop {
            filter,
            shorter: 235
        }
    );
    assert_eq!(found.mean, [0.485, 0.456, 0.406]);
    assert_eq!(found.std, [0.229, 0.224, 0.225]);
    assert_eq!(found.color, ColorPolicy::Convert);
    let squash = TIMM.replace("center", "squash");
    let expected = SizePolicy::Stretch {
        filter,
        height: 235,
        width: 235,
    };
    assert_eq!(preprocess(&squash, [3, 224, 224]).size, expected);
    // As pprint breaks it, and a tuple of one value.
    let gray = "{'crop_pct': 0.875,\n 'input_size': (1, 224, 224),\n 'interpolation': 'bilinear',\n 'mean': (0.5,),\n 'std': (0.5,),\n}";
    let found = preprocess(gray, [1, 224, 224]);
    assert_eq!((found.mean, found.std), (vec![0.5], vec![0.5]));
    assert!(matches!(found.size, SizePolicy::Crop { shorter: 256, .. }));
    for (from, to, expected) in [
        ("center", "border", "border"),
        ("bicubic", "random", "random"),
        ("0.95", "0", "crop_pct"),
        ("'crop_mode'", "'crop_more'", "crop_more"),
        ("(3, 224, 224)", "(3, 192, 192)", "3x192x192"),
        ("(3, 224, 224)", "(1, 224, 224)", "1x224x224"),
        ("(3, 224, 224)", "(3, 224, 192)", "224x192"),
        ("0.406)", "0.406", "expected a data configuration"),
    ] {
        refused(&TIMM.replace(from, to), [3, 224, 224], expected);
    }
}

#[test]
fn what_torchvision_prints_is_read() {
    let on_one_line = TORCHVISION
        .trim()
        .replace("\n    ", ", ")
        .replace("(, ", "(")
        .replace('\n', "");
    for text in [TORCHVISION, &on_one_line] {
        let found = preprocess(text, [3, 224, 224]);
        let filter = Filter::Bilinear;
        assert_eq!(
            found.size,
            SizePolicy::Crop {
                filter,
                shorter: 256
            },
            "{text}"
        );
        assert_eq!(found.mean, [0.485, 0.456, 0.406]);
        assert_eq!(found.std, [0.229, 0.224, 0.225]);
        assert_eq!(found.color, ColorPolicy::Convert);
    }
    let both = TORCHVISION.replace("[256]", "[256, 240]");
    let found = preprocess(&both, [3, 224, 224]).size;
    assert!(matches!(
        found,
        SizePolicy::Stretch {
            height: 256,
            width: 240,
            ..
        }
    ));
    for (from, to, expected) in [
        ("ImageClassification", "SemanticSegmentation", "classifier"),
        ("BILINEAR", "LANCZOS", "LANCZOS"),
        ("crop_size=[224]", "crop_size=[192]", "192x192"),
        ("crop_size=[224]", "resize_size=[224]", "two"),
        ("crop_size=[224]", "", "missing"),
        ("crop_size=[224]", "padding=[2]", "padding=[2]"),
        ("[256]", "[256", "resize_size"),
    ] {
        refused(&TORCHVISION.replace(from, to), [3, 224, 224], expected);
    }
}
