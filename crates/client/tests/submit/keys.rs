//! Key folders.

use std::fs;
use std::path::Path;

use sordino_ckks::EvaluationKey;
use sordino_client::{Client, EVALUATION_KEY_FILE, Error, SECRET_KEY_FILE};
use sordino_plan::PackingKind;
use sordino_ring::backend;

use crate::service::plan;

fn client(packing: PackingKind) -> Client {
    Client::new(
        plan(packing, 50).client.clone(),
        backend::select(None).unwrap(),
    )
    .unwrap()
}

fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut content: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    content.sort();
    content
}

fn refusal(client: &Client, folder: &Path) -> String {
    match client.open_key_folder(folder, None) {
        Err(error @ Error::KeyFolder { .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("{} was taken", folder.display()),
    }
}

#[test]
fn keys_are_made_once_and_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("new/keys");
    let client = client(PackingKind::ChannelWise);
    let made = client.open_key_folder(&keys, None).unwrap();
    assert!(made.made);
    let before = content(&keys);
    let again = client.open_key_folder(&keys, None).unwrap();
    assert!(!again.made);
    assert_eq!(again.secret.key_id(), made.secret.key_id());
    let file = again.evaluation.unwrap();
    assert_eq!(Some(&file), made.evaluation.as_ref());
    assert_eq!(file.bytes, fs::metadata(&file.path).unwrap().len());
    assert_eq!(content(&keys), before);
    let key = EvaluationKey::read_file(client.context(), &file.path).unwrap();
    assert_eq!(key.key_id(), made.secret.key_id());
}

#[test]
fn keys_of_other_parameters_are_refused_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (
        client(PackingKind::ChannelWise),
        client(PackingKind::ElementWise),
    );
    one.open_key_folder(folder.path(), None).unwrap();
    let before = content(folder.path());
    let text = refusal(&other, folder.path());
    assert!(
        text.contains("other") || text.contains("parameters"),
        "{text}"
    );
    assert!(text.contains("give another folder"), "{text}");
    assert_eq!(content(folder.path()), before);
}

#[test]
fn one_key_without_the_other_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let client = client(PackingKind::ChannelWise);
    client.open_key_folder(folder.path(), None).unwrap();
    let (secret, evaluation) = (
        folder.path().join(SECRET_KEY_FILE),
        folder.path().join(EVALUATION_KEY_FILE),
    );
    let away = folder.path().join("away");
    fs::rename(&evaluation, &away).unwrap();
    let text = refusal(&client, folder.path());
    assert!(
        text.contains("no evaluation.key, which this plan needs"),
        "{text}"
    );
    fs::rename(&away, &evaluation).unwrap();
    fs::rename(&secret, &away).unwrap();
    let before = content(folder.path());
    let text = refusal(&client, folder.path());
    assert!(text.contains("no secret.key"), "{text}");
    assert_eq!(
        content(folder.path()),
        before,
        "nothing was made or replaced"
    );

    // An evaluation key of another secret key.
    let other = tempfile::tempdir().unwrap();
    client.open_key_folder(other.path(), None).unwrap();
    fs::copy(other.path().join(SECRET_KEY_FILE), &secret).unwrap();
    let text = refusal(&client, folder.path());
    assert!(text.contains("belongs to another secret key"), "{text}");
}

#[test]
fn what_a_killed_process_leaves_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let client = client(PackingKind::ChannelWise);
    client.open_key_folder(folder.path(), None).unwrap();
    let evaluation = folder.path().join(EVALUATION_KEY_FILE);
    let pending = folder.path().join("evaluation.key.new");
    // Killed between the secret key and the evaluation key's name.
    fs::rename(&evaluation, &pending).unwrap();
    assert!(!client.open_key_folder(folder.path(), None).unwrap().made);
    assert!(evaluation.exists() && !pending.exists());
    // Killed before the secret key, and while another was written.
    fs::rename(&evaluation, &pending).unwrap();
    let half = folder.path().join(".secret.key.abc.tmp-sordino");
    fs::write(&half, "half").unwrap();
    fs::remove_file(folder.path().join(SECRET_KEY_FILE)).unwrap();
    assert!(client.open_key_folder(folder.path(), None).unwrap().made);
    assert!(evaluation.exists() && !pending.exists() && !half.exists());
}
