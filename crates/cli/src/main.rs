//! The sordino command line
fn main() {}
