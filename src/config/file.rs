//! The text of `runners_config.yaml`, read into checked values; every problem at once.
