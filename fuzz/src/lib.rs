//! The readings, and the corpus that a target begins with.
#![forbid(unsafe_code)]

mod readings;

pub use readings::*;

/// Writes a target's seeds into its corpus, and the inputs that once broke it. To be called before libFuzzer reads the folder.
pub fn fill(target: &str) {
    let corpus = root().join("fuzz/corpus").join(target);
    std::fs::create_dir_all(&corpus).expect("the corpus' folder can be made");
    for (number, seed) in seeds(target).into_iter().enumerate() {
        std::fs::write(corpus.join(format!("seed-{number:03}")), seed).expect("a seed can be written");
    }
}
