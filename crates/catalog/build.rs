//! Makes cargo build this crate again when a file of `destinations/` comes, goes or changes: the
//! catalog is embedded in the binary.

fn main() {
    println!("cargo:rerun-if-changed=../../destinations");
    println!("cargo:rerun-if-changed=build.rs");
}
