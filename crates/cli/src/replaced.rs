//! Outputs that would replace what is read.

use std::path::Path;

use crate::exit::Usage;

/// Refuses an output that is one of the inputs, which `--force` would replace.
pub(crate) fn is_not_read(out: &Path, inputs: &[&Path]) -> anyhow::Result<()> {
    let Ok(real) = out.canonicalize() else {
        return Ok(());
    };
    let same = |input: &&Path| input.canonicalize().is_ok_and(|input| input == real);
    anyhow::ensure!(
        !inputs.iter().any(same),
        Usage(format!(
            "--out {}: this file is read, and would be replaced: give another path",
            out.display()
        ))
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::code;

    #[test]
    fn no_command_replaces_what_it_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let [images, other] = ["images.npy", "other"].map(|name| folder.path().join(name));
        std::fs::write(&images, b"x").expect("written");
        assert!(is_not_read(&other, &[&images]).is_ok());
        let roundabout = folder.path().join(".").join("images.npy");
        let error = is_not_read(&roundabout, &[&other, &images]).expect_err("an input");
        assert_eq!(code(&error), 2, "{error}");
    }
}
