//! Which of its images a pool runs: the one behind the tag `current`. The one before it is kept under `previous`, so that
//! there is a way back.

use super::{ImageError, names};
use crate::model::{InstanceId, PoolName, built_image};
use crate::provider::docker::Docker;

/// Makes an image (an id, or a reference) the one that the pool runs. Whether that changed anything.
///
/// # Errors
/// The engine refuses: there is no such image.
pub async fn set_current(
    docker: &Docker,
    instance: &InstanceId,
    pool: &PoolName,
    image: &str,
) -> Result<bool, ImageError> {
    let current = built_image::current(instance, pool);
    let before = docker.image(&current).await?.map(|image| image.id);
    let wanted = docker.image(image).await?.map(|image| image.id);
    if before.is_some() && before == wanted {
        return Ok(false);
    }
    // First the way back, then the step.
    if let Some(before) = before {
        docker.tag_image(&before, &names::previous(instance, pool)).await?;
    }
    docker.tag_image(image, &current).await?;
    Ok(true)
}

/// Goes back to the image before; the one that was current becomes the one before. Returns the id that is current now.
///
/// # Errors
/// [`ImageError::NothingBefore`] where there is none.
pub async fn roll_back(docker: &Docker, instance: &InstanceId, pool: &PoolName) -> Result<String, ImageError> {
    let Some(before) = docker.image(&names::previous(instance, pool)).await? else {
        return Err(ImageError::NothingBefore(pool.clone()));
    };
    set_current(docker, instance, pool, &before.id).await?;
    Ok(before.id)
}
