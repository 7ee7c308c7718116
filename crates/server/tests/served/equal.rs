//! The service answers what the command `evaluate` answers on the same files.

use crate::cases::{deep, fewer, plain, rotated, shallow};
use crate::files::folder;
use crate::server::{Server, Setup};
use crate::service::Service;

#[test]
fn a_served_reply_is_that_of_evaluate_byte_for_byte() {
    let cases = [plain(), shallow(), deep(), rotated()];
    let server = Server::start(&folder("equal"), Setup::new(&cases, &["a", "b"]));
    for client in ["a", "b"] {
        let mut service = Service::new(&server, client);
        for case in cases {
            service.register(case.name, case);
            let key = case.key.as_ref().map(|_| case.name);
            // The second time everything that can be kept from the first one is.
            for round in ["first", "second"] {
                service.run(&format!("{}-{round}", case.name), case, key);
            }
        }
        assert_eq!(service.ids("jobs").len(), 2 * cases.len());
    }
}

#[test]
fn the_first_images_alone_are_evaluated_as_by_the_command() {
    let fewer = fewer(plain(), 7, "fewer");
    assert_eq!(fewer.images, 7);
    let server = Server::start(&fewer.folder, Setup::new(&[plain()], &["a"]));
    Service::new(&server, "a").run("seven", &fewer, None);
}
