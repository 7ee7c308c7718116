//! Names of classes, on the command line or in a file as other programs write it.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{bail, ensure};
use sordino::container::Error as FileError;

use crate::exit::{Mismatch, Usage};

/// Longest file of class names.
const MOST_BYTES: u64 = 1 << 20;

/// The names in `text`: separated by commas, or the lines of the file of this name.
fn class_names(text: &str) -> anyhow::Result<Vec<String>> {
    let path = Path::new(text);
    if path.is_dir() {
        bail!(Usage(format!(
            "--classes {text}: expected class names or a text file with one per line, found a folder"
        )));
    }
    if path.is_file() {
        return names_in(path);
    }
    if looks_like_path(text) {
        bail!(Usage(format!(
            "--classes {text}: there is no file {text}: check the path, or give the names separated by commas"
        )));
    }
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    ensure!(
        names.iter().all(|name| !name.is_empty()),
        Usage(format!(
            "--classes {text:?}: expected a name between commas, found none"
        ))
    );
    Ok(names)
}

/// The names in `text` for a network with so many logits.
pub(crate) fn class_names_for(text: &str, logits: usize) -> anyhow::Result<Vec<String>> {
    let names = class_names(text)?;
    ensure!(
        names.len() == logits,
        Mismatch(format!(
            "--classes {text}: {} names for the {logits} classes of the network: give one name for each class, in a file one on \
             each line",
            names.len()
        ))
    );
    let mut seen = HashSet::new();
    if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
        bail!(Mismatch(format!(
            "--classes {text}: two classes have the name {name:?}: give each its own"
        )));
    }
    Ok(names)
}

/// Whether a text without commas is meant as the path of a file: it has a separator or an extension.
fn looks_like_path(text: &str) -> bool {
    let extension = Path::new(text).extension().and_then(|end| end.to_str());
    let has_extension = extension.is_some_and(|end| {
        (2..=5).contains(&end.len()) && end.chars().all(|letter| letter.is_ascii_alphabetic())
    });
    !text.contains(',') && (text.contains(['/', '\\']) || has_extension)
}

/// The lines of a file that are not blank.
fn names_in(path: &Path) -> anyhow::Result<Vec<String>> {
    let read = |error| FileError::io(path, "read", error);
    let (name, size) = (path.display(), fs::metadata(path).map_err(read)?.len());
    ensure!(
        size <= MOST_BYTES,
        Mismatch(format!(
            "{name}: expected class names, one per line, found {size} bytes: check the path"
        ))
    );
    let bytes = fs::read(path).map_err(read)?;
    let Some(text) = decode(&bytes) else {
        let line = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let line = 1 + line.matches('\n').count();
        bail!(Mismatch(format!(
            "{name}: expected text in UTF-8, found another encoding in line {line}: convert it, as with `iconv -f latin1 -t utf-8`"
        )));
    };
    let lines = text.split(['\n', '\r']).map(str::trim);
    let names: Vec<String> = lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    ensure!(
        !names.is_empty(),
        Mismatch(format!(
            "{name}: expected class names, one per line, found blank lines only"
        ))
    );
    Ok(names)
}

/// Text in UTF-8, or in UTF-16 with a byte order mark.
fn decode(bytes: &[u8]) -> Option<String> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes.as_chunks();
        let units: Vec<u16> = units.iter().map(|&bytes| unit(bytes)).collect();
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => Some(std::str::from_utf8(rest).ok()?.to_owned()),
        _ => Some(std::str::from_utf8(bytes).ok()?.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::code;

    #[test]
    fn lists_are_split_at_commas() {
        let names = class_names("zero, one,two 2").expect("names");
        assert_eq!(names, ["zero", "one", "two 2"]);
        assert_eq!(class_names("pneumonia").expect("a name"), ["pneumonia"]);
        assert_eq!(class_names("a/b,c").expect("names"), ["a/b", "c"]);
        let error = class_names("a,,b").expect_err("an empty name");
        assert_eq!(code(&error), 2, "{error}");
    }

    #[test]
    fn each_class_has_one_name_of_its_own() {
        assert_eq!(class_names_for("a,b", 2).expect("names"), ["a", "b"]);
        for (text, part) in [("a,b,c", "3 names for the 2 classes"), ("a,a", "\"a\"")] {
            let error = class_names_for(text, 2).expect_err("other names");
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(code(&error), 3, "{error}");
        }
    }

    #[test]
    fn what_looks_like_a_path_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        for missing in [
            folder.path().join("classes.txt"),
            folder.path().join("classes"),
            "missing.names".into(),
        ] {
            let text = missing.to_str().expect("UTF-8");
            let error = class_names(text).expect_err("no file");
            assert!(error.to_string().contains("no file"), "{error}");
            assert_eq!(code(&error), 2, "{error}");
        }
        let error = class_names(folder.path().to_str().expect("UTF-8")).expect_err("a folder");
        assert!(error.to_string().contains("found a folder"), "{error}");
    }

    #[test]
    fn files_are_read_as_editors_write_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("classes.txt");
        let read = |content: &[u8]| {
            fs::write(&path, content).expect("written");
            class_names(path.to_str().expect("UTF-8"))
        };
        let wide = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "\u{feff}null\r\nä, b\r\n"
                .encode_utf16()
                .flat_map(unit)
                .collect()
        };
        for content in [
            &b"null\n\xc3\xa4, b\n"[..],
            b"\xef\xbb\xbfnull\r\n\xc3\xa4, b",
            b"\n null \r\n\r\n\t\xc3\xa4, b  \n\n\n",
            b"null\r\xc3\xa4, b\r",
            &wide(u16::to_le_bytes),
            &wide(u16::to_be_bytes),
        ] {
            assert_eq!(
                read(content).expect("names"),
                ["null", "ä, b"],
                "{content:?}"
            );
        }
        let error = read(b"null\neins\n\xe4\n").expect_err("latin-1");
        let text = error.to_string();
        assert!(text.contains("UTF-8") && text.contains("line 3"), "{text}");
        assert_eq!(code(&error), 3, "{text}");
        let error = read(b"\xef\xbb\xbf\r\n \n").expect_err("no names");
        assert_eq!(code(&error), 3, "{error}");
    }
}
