# Runs in the image, as its user, without network. What it prints first is the version.
rustc --version
cargo --version
cargo new --quiet --vcs none hello
cd hello || exit
cat >src/main.rs <<'RUST'
fn main() {
    let words: Vec<String> = ["compiled", "and", "run"].iter().map(|word| word.to_string()).collect();
    println!("{}", words.join(" "));
}
RUST
cargo fmt
cargo clippy --quiet --offline
cargo build --quiet --offline
[ "$(target/debug/hello)" = "compiled and run" ]
touch "$CARGO_HOME/of-the-runner" "$RUSTUP_HOME/of-the-runner"
