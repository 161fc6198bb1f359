//! The first step: which account, which GitHub, and where GitHub reaches this machine.

use super::SetupArgs;
use super::talk::Talk;
use crate::cli::{WrongUse, environment, init};
use crate::config::{OrgPlace, org_place, public_url};
use crate::model::Scope;
use crate::setup::manifest::Owner;
use crate::setup::reference::{self, References};
use crate::setup::standing::Standing;
use std::path::Path;

/// What is said to somebody who has no address yet.
const REACH: &str = "\
GitHub sends each job's event to an address that it can reach from outside, with a certificate that it knows. Ways to have one:
    a proxy with TLS on a machine that has a public name (nginx, Caddy, …), which forwards /webhook to http.listen;
    `http.tls` in the configuration: a certificate of runnerfleet's own, where a port of this machine is open to GitHub;
    a tunnel (cloudflared, ngrok, tailscale funnel, …), which gives an https:// address and needs no open port;
    `intake: { mode: pull }` in the configuration: no address at all, jobs are asked for (docs/setup.md says what that costs).
  Give the address, as in https://ci.example.com; Ctrl-C to come back later";

/// Where all of it is to be.
pub(super) struct Place {
    /// The configuration as it stands, or as it would be written.
    pub(super) standing: Standing,
    /// Where GitHub reaches this machine; none where it does not have to.
    pub(super) public_url: Option<String>,
    /// In place of the file's placeholder.
    pub(super) org_url: Option<String>,
    /// The first account.
    pub(super) account: String,
}

impl Place {
    /// Where GitHub is to deliver.
    pub(super) fn hook_url(&self) -> Option<String> {
        let reached = self.public_url.as_ref().map(|url| self.standing.hook_url(url));
        reached.or_else(|| self.standing.hook_to_nowhere().map(str::to_owned))
    }
}

/// Asks for what is not known.
///
/// # Errors
/// [`WrongUse`]: the file is wrong, what is given does not fit it, or nobody can be asked.
pub(super) async fn ask(path: &Path, args: &SetupArgs, talk: &Talk) -> anyhow::Result<Place> {
    let given = args.org.as_deref().map(|org| org_place(org).map_err(|why| WrongUse(format!("--org: {why}"))));
    let given = given.transpose()?;
    let there = Standing::read(path, &environment).map_err(|error| WrongUse(error.to_string()))?;
    let (standing, org_url) = match there {
        Some(standing) => fitting(standing, given, talk).await?,
        None => (new_one(path, given, talk).await?, None),
    };
    let scopes = standing.scopes();
    let Some(account) = scopes.first().map(|scope| scope.account().to_owned()) else {
        return Err(WrongUse(format!("{} has no pool (runners)", path.display())).into());
    };
    if args.personal && scopes.iter().any(|scope| matches!(scope, Scope::Organization(_))) {
        let why = format!(
            "--personal: a person's account has runners in its repositories only; name one of them, as in --org {account}/REPOSITORY"
        );
        return Err(WrongUse(why).into());
    }
    let public_url = if standing.needs_a_hook() { Some(reachable(&standing, args, talk).await?) } else { None };
    if public_url.is_none() && args.url.is_some() {
        let why = match standing.hook_to_nowhere() {
            Some(_) => "intake.mode is pull",
            None => "no pool makes runners for jobs, since all of them are persistent (nb)",
        };
        talk.tell(&format!("note: --url is not used: {why}, so GitHub need not reach this machine"));
    }
    Ok(Place { standing, public_url, org_url, account })
}

/// A configuration to begin with, which is not written yet.
async fn new_one(path: &Path, given: Option<OrgPlace>, talk: &Talk) -> anyhow::Result<Standing> {
    let place = match given {
        Some(place) => place,
        None => ask_where(talk).await?,
    };
    let text = init::for_app(&place.url);
    let mut standing = Standing::of(path, text, false, &environment).map_err(|error| WrongUse(error.to_string()))?;
    // What stands there until the App is made.
    standing.app = None;
    Ok(standing)
}

/// What is given, held against the file that is there.
async fn fitting(
    standing: Standing,
    given: Option<OrgPlace>,
    talk: &Talk,
) -> anyhow::Result<(Standing, Option<String>)> {
    let is_placeholder = standing.config.pools.iter().any(|pool| pool.scope_url == init::SOMEBODY);
    let given = match given {
        None if is_placeholder => Some(ask_where(talk).await?),
        given => given,
    };
    let Some(place) = given else { return Ok((standing, None)) };
    if standing.config.pools.iter().any(|pool| pool.scope_url.eq_ignore_ascii_case(&place.url)) {
        return Ok((standing, None));
    }
    if !is_placeholder {
        let urls: Vec<&str> = standing.config.pools.iter().map(|pool| pool.scope_url.as_str()).collect();
        return Err(WrongUse(format!(
            "{} has its runners at {}, and --org says {}; leave --org out, or change org_url there",
            standing.file.display(),
            urls.first().copied().unwrap_or_default(),
            place.url
        ))
        .into());
    }
    let wanted = References { org_url: Some(place.url.clone()), ..References::default() };
    let text = reference::apply(&standing.text, &wanted)
        .map_err(|error| WrongUse(format!("{}: {error}; put {} there", standing.file.display(), place.url)))?;
    let standing =
        Standing::of(&standing.file, text, true, &environment).map_err(|error| WrongUse(error.to_string()))?;
    Ok((standing, Some(place.url)))
}

async fn ask_where(talk: &Talk) -> anyhow::Result<OrgPlace> {
    let question = "Organization at GitHub (acme; of a personal account a repository, octo/tool; of an Enterprise Server its \
                    address, https://git.acme.org/acme)";
    talk.ask(question, "", "say where the runners are to be with --org", org_place).await
}

/// Where GitHub reaches this machine: as given, as the file says, or as somebody says.
async fn reachable(standing: &Standing, args: &SetupArgs, talk: &Talk) -> anyhow::Result<String> {
    let path = standing.config.intake.path.clone();
    // Whoever gives the webhook's whole address means the same.
    let read = move |text: &str| {
        let text = text.trim().trim_end_matches('/');
        public_url(text.strip_suffix(path.as_str()).unwrap_or(text)).map_err(|why| format!("`{text}` {why}"))
    };
    if let Some(url) = &args.url {
        return read(url).map_err(|why| WrongUse(format!("--url: {why}")).into());
    }
    if let Some(url) = &standing.config.http.public_url {
        return Ok(url.clone());
    }
    let question = "Where does GitHub reach this machine (https://…; empty: what if there is nothing yet?)";
    let instead = "say where GitHub reaches this machine with --url, as in --url https://ci.example.com; without a way in, \
                   write `intake: { mode: pull }` into the configuration";
    talk.ask(question, "", instead, move |text| if text.is_empty() { Err(REACH.to_owned()) } else { read(text) }).await
}

/// Whose the App is to be.
///
/// # Errors
/// The terminal went away.
pub(super) async fn owner(place: &Place, args: &SetupArgs, talk: &Talk) -> anyhow::Result<Owner> {
    if args.personal {
        return Ok(Owner::Person);
    }
    let account = &place.account;
    let only_repositories = !place.standing.scopes().iter().any(|scope| matches!(scope, Scope::Organization(_)));
    if only_repositories && talk.is_attended() {
        let question = format!("Is `{account}` an organization (and not your own account)?");
        if !talk.yes(&question, "").await? {
            return Ok(Owner::Person);
        }
    }
    Ok(Owner::Organization(account.clone()))
}
