//! Bodies of the operators' API: what `hub-node` answers and `hubctl` sends, one type per body.
//!
//! Requests refuse unknown fields, so that a misspelt or forbidden one (`org_id`) is an error and never silently dropped.
//! Answers may grow fields: clients ignore what they do not know. Times are RFC 3339, enum values are snake_case.

pub mod authority;
pub mod command;
pub mod device;
pub mod firmware;
pub mod group;
pub mod node;
pub mod page;
pub mod problem;
#[cfg(feature = "openapi")]
mod schema;
pub mod tenant;

pub use authority::{
    Authority, AuthorityCreate, AuthorityUpdate, Certificate, CertificateCreate, Provisioning,
    Registration,
};
pub use command::{Audience, Command, CommandCreate, Execution, ExecutionState, StateCount};
pub use device::{Connection, Device, DeviceCreate, FirmwareName, TargetSet, UpdateState};
pub use firmware::{Firmware, SigningKey, SigningKeyCreate};
pub use group::{Group, GroupCreate, GroupUpdate, MembersAdd, MembersAdded};
pub use node::{Node, NodePlan, NodeState, NodesRebalance, RebalancePlan};
pub use page::Page;
pub use problem::{FieldProblem, Problem};
pub use tenant::{Org, OrgCreate, Product, ProductCreate, Role, Token, TokenCreate, TokenCreated};
