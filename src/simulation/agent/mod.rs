//! The stand-in agent.
