//! The two files with which an agent starts, out of a registration.

use super::model::{Model, Runner};
use super::payload;
use crate::simulation::protocol::{CredentialsData, CredentialsFile, Registered, RunnerFile, encode_jit};

/// The files themselves.
pub(super) fn files(model: &Model, runner: &Runner) -> Registered {
    let server = format!("{}/", model.urls.agents);
    Registered {
        runner: RunnerFile {
            agent_id: runner.id,
            agent_name: runner.name.clone(),
            pool_id: runner.group_id,
            pool_name: runner.group_name.clone(),
            server_url: server.clone(),
            git_hub_url: payload::scope_url(&model.urls, &runner.scope),
            work_folder: runner.work_folder.clone(),
            ephemeral: runner.ephemeral,
            use_v2_flow: true,
            server_url_v2: server.clone(),
        },
        credentials: CredentialsFile {
            scheme: "OAuth".into(),
            data: CredentialsData {
                client_id: format!("simulated-{}", runner.id),
                authorization_url: format!("{server}_agent/"),
                secret: runner.credential.clone(),
            },
        },
    }
}

/// The `encoded_jit_config`.
pub(super) fn encode(model: &mut Model, runner: &Runner) -> String {
    let files = files(model, runner);
    // As long as the real one's RSA parameters.
    let filler = model.seed.secret(1700);
    encode_jit(&files.runner, &files.credentials, &filler)
}
