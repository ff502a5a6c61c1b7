//! What happens in a scenario, as data, and how it is played on any stage.
//!
//! In: stories (YAML), or a seed. Out: steps that a [`Stage`] carries out, and whether what it shows is what was expected.
//! Never here: a Kubernetes client, a clock, a sleep. The simulation, the fake bed and the real bed play the same data.

mod action;
mod author;
mod call;
mod expect;
mod generate;
mod history;
mod play;
mod scenario;
mod shape;
mod shrink;
mod sight;
mod stage;
mod stories;

pub use action::{
    Action, Controller, Delete, Edit, Hand, How, KillPods, Measure, Operate, Pods, Propagation, Says, TeamService, Want, Write,
};
pub use author::{Author, Dialect};
pub use call::Call;
pub use expect::Expect;
pub use generate::{Dice, generated};
pub use history::{Count, History, words};
pub use play::{Report, play, with_revisions};
pub use scenario::{Deed, Place, Scenario, Step};
pub use shape::{Shape, WorkloadShape};
pub use shrink::shrink;
pub use sight::{Kind, Sight};
pub use stage::Stage;
pub use stories::{parse, stories, story};
