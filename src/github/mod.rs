//! GitHub's API, as far as we need it: a client with a base URL.
