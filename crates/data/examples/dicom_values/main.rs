//! Writes the values of DICOM files as they are read, to compare them with those of another reader (`compare.py` beside this file).
//!
//! ```sh
//! cargo run --release -p sordino-data --features dicom --example dicom_values -- none|file OUT FILES...
//! ```
//!
//! `OUT/<number>.f32` has the values of a file; a line on standard output has its number and shape, or why it is refused.

use std::path::Path;
use std::{env, fs};

use sordino_data::{DicomOptions, Window, open_dicom};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let window = match arguments.next().as_deref() {
        Some("none") => Window::None,
        Some("file") => Window::OfFile,
        _ => return Err("expected none or file, a folder, and files".into()),
    };
    let options = DicomOptions {
        window,
        ..DicomOptions::default()
    };
    let out = arguments.next().ok_or("expected a folder to write to")?;
    for (number, path) in arguments.enumerate() {
        match open_dicom(&path, &options) {
            Ok(images) => {
                let values = (0..images.pixels.len()).map(|at| images.pixels.value(at) as f32);
                let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
                fs::write(Path::new(&out).join(format!("{number}.f32")), bytes)?;
                let (channels, height, width) = (images.channels, images.height, images.width);
                println!("{number} ok {} {channels} {height} {width}", images.len());
            }
            Err(error) => println!("{number} refused {error}"),
        }
    }
    Ok(())
}
