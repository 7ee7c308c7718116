//! Where a suite finds data sets and models, and where it keeps records.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sordino::Model;
use sordino::data::{DataSet, SetName, open_named};
use sordino_command::{Outcome, Output};

use crate::Error;
use crate::record::write_records;

/// Where data sets are.
#[derive(clap::Args)]
pub(super) struct DataArgs {
    /// The folder that holds the data sets, or one set's own [default: $SORDINO_DATA, ./data, /usr/share/datasets]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl DataArgs {
    pub(super) fn open(&self, name: SetName) -> Result<DataSet, sordino::data::Error> {
        open_named(self.data.as_deref(), name)
    }
}

/// Where model files are.
#[derive(clap::Args)]
pub(super) struct ModelArgs {
    /// Folder of the model files, NETWORK-DATASET.safetensors
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub(super) models: PathBuf,
}

impl ModelArgs {
    fn path(&self, name: &str) -> PathBuf {
        self.models.join(format!("{name}.safetensors"))
    }

    /// The model of a file name without its ending; `None` where there is no file.
    pub(super) fn find(&self, name: &str) -> anyhow::Result<Option<Model>> {
        let path = self.path(name);
        Ok(path.exists().then(|| Model::load(&path)).transpose()?)
    }

    /// The model of a file name without its ending; an error where there is no file.
    pub(super) fn load(&self, name: &str) -> anyhow::Result<Model> {
        let found = self.find(name)?;
        Ok(found.ok_or_else(|| {
            Error::Usage(format!(
                "no model {}: run this in the repository's root, give the folder of the models with --models, or train it with `sordino train`",
                self.path(name).display()
            ))
        })?)
    }
}

/// Where records are kept.
#[derive(clap::Args)]
pub(super) struct ResultArgs {
    /// Folder for the records
    #[arg(long, value_name = "DIR", default_value = "bench/results")]
    results: PathBuf,
}

impl ResultArgs {
    pub(super) fn folder(&self) -> &Path {
        &self.results
    }

    /// Writes the records of a suite, and says where.
    pub(super) fn keep<R: Serialize>(
        &self,
        suite: &str,
        records: &[R],
        output: &Output,
    ) -> anyhow::Result<()> {
        let path = write_records(&self.results, suite, records)?;
        output.note(format!("wrote {}", path.display()));
        Ok(())
    }

    /// Keeps the records of a suite, and shows them as the result: the end of a suite that checks nothing.
    pub(super) fn finish<R: Serialize>(
        &self,
        suite: &str,
        records: &[R],
        output: &Output,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<Outcome> {
        self.keep(suite, records, output)?;
        output.result(&records, || text().trim_end().to_owned())?;
        Ok(Outcome::Good)
    }
}
