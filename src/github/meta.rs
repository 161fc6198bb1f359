//! From where GitHub's hooks come.

use super::Client;
use super::error::{Error, refusal};
use super::line::{Endpoint, Line, Request};
use ipnet::IpNet;
use serde::Deserialize;

#[derive(Deserialize)]
struct MetaAnswer {
    hooks: Option<Vec<String>>,
}

impl Client {
    /// The networks from which GitHub delivers, of IPv4 and IPv6; never none. Asked without a token: the answer is the same
    /// for everybody, and an App's own token is not good for it.
    pub async fn hook_networks(&self) -> Result<Vec<IpNet>, Error> {
        let request =
            Request::get(Endpoint::Ourselves, "meta".to_owned(), "read the addresses of its hooks".to_owned());
        let answer = self.inner.line.ask_as_nobody(&request).await?;
        if !answer.status.is_success() {
            return Err(refusal(&answer, &request.what, Line::now()));
        }
        let MetaAnswer { hooks } =
            serde_json::from_slice(&answer.body).map_err(|error| Error::unreadable(&request.what, &error))?;
        let invalid = |message: String| Error::Invalid { what: request.what.clone(), message };
        let hooks =
            hooks.filter(|hooks| !hooks.is_empty()).ok_or_else(|| invalid("the answer names none".to_owned()))?;
        let network = |text: String| text.parse::<IpNet>().map_err(|_| invalid(format!("`{text}` is no network")));
        hooks.into_iter().map(network).collect()
    }
}
