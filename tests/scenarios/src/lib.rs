//! What happens in a scenario, as data, and how it is played on any stage.
