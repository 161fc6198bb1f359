//! The third step: the references in `runners_config.yaml`. The secrets themselves are in their files by now.

use super::app::Known;
use super::place::Place;
use super::talk::Talk;
use crate::config::edit::keys::NotHere;
use crate::config::edit::{EditError, rewrite};
use crate::setup::reference::{self, References};
use anyhow::Context;
use std::io::Write;

/// Why the file is as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unchanged {
    #[error(transparent)]
    File(#[from] EditError),
    #[error(transparent)]
    NotHere(#[from] NotHere),
}

/// Writes what is not there yet. False: it could not be written, and the person was told what to write.
///
/// # Errors
/// A new file cannot be made.
pub(super) fn references(place: &Place, known: &Known, talk: &Talk) -> anyhow::Result<bool> {
    let standing = &place.standing;
    let needs = standing.needs_a_hook();
    let wanted = References {
        org_url: place.org_url.clone(),
        // A number in the file names the App as well as its client id does.
        issuer: known.key_file.is_some().then(|| known.issuer.clone()),
        key_file: known.key_file.clone(),
        secrets_file: (needs && (known.secret_to_set.is_some() || known.secrets_moved))
            .then(|| standing.secrets_file.clone()),
        secrets_there_alone: known.secrets_moved,
        public_url: place.public_url.clone().filter(|url| standing.config.http.public_url.as_ref() != Some(url)),
    };
    let file = standing.file.display();
    if !standing.on_disk {
        let text = reference::apply(&standing.text, &wanted).context("writing the references into a new file")?;
        if let Some(folder) = standing.config.file.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
        }
        let made = std::fs::File::create_new(&standing.file).and_then(|mut new| {
            new.write_all(text.as_bytes())?;
            new.sync_all()
        });
        made.with_context(|| format!("writing {file}"))?;
        talk.tell(&format!("wrote {file}, with one pool to begin with"));
        return Ok(true);
    }
    match write(place, &wanted) {
        Ok(Some(backup)) => {
            talk.tell(&format!("changed {file}; the old text is in {}", backup.display()));
            Ok(true)
        }
        Ok(None) => Ok(true),
        Err(why) => {
            by_hand(place, &wanted, &why, talk);
            Ok(false)
        }
    }
}

/// Changes the file that is there.
///
/// # Errors
/// It is written in a way that cannot be changed in place, or is read-only.
pub(super) fn write(place: &Place, wanted: &References) -> Result<Option<std::path::PathBuf>, Unchanged> {
    in_file(&place.standing.file, wanted)
}

/// The same, of a file by its path.
///
/// # Errors
/// As `write`.
pub(super) fn in_file(file: &std::path::Path, wanted: &References) -> Result<Option<std::path::PathBuf>, Unchanged> {
    rewrite(file, |text| {
        let new = reference::apply(text, wanted)?;
        Ok((new != text).then_some(new))
    })
}

fn by_hand(place: &Place, wanted: &References, why: &Unchanged, talk: &Talk) {
    let mut more = String::new();
    if wanted.secrets_there_alone && place.standing.secrets_elsewhere {
        more.push_str("and take `intake.secrets` out. ");
    }
    talk.tell(&format!(
        "error: {} is left as it is: {why}\nThe App's key and secret are kept. Write these lines there (in place of what \
         `github.auth` says now), {more}then run `runnerfleet setup` again, which goes on with this App:\n\n{}",
        place.standing.file.display(),
        reference::by_hand(wanted)
    ));
}
