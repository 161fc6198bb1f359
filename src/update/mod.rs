//! Base images that are out of date: which ones (`check`), and a newer one in their place, everywhere or nowhere
//! (`apply`).

mod apply;
mod check;
mod news;
mod steps;

pub use apply::{Applied, Failure, Redeployed, Stage, Steps, apply};
pub use check::{BaseImage, Update, check};
pub use steps::{Environment, Hands, Keepers, Parts, Tell};
