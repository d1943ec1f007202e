#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Envelope {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(string, tag = "2")]
    pub origin: ::prost::alloc::string::String,
    #[prost(message, optional, tag = "3")]
    pub hint: ::core::option::Option<Hint>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Hint {
    #[prost(fixed64, tag = "1")]
    pub epoch: u64,
    #[prost(int64, tag = "5")]
    pub seq: i64,
    #[prost(message, optional, tag = "6")]
    pub trace: ::core::option::Option<TraceContext>,
    #[prost(oneof = "hint::Channel", tags = "2, 3, 4")]
    pub channel: ::core::option::Option<hint::Channel>,
    #[prost(oneof = "hint::Body", tags = "7")]
    pub body: ::core::option::Option<hint::Body>,
}
pub mod hint {
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Channel {
        #[prost(int64, tag = "2")]
        Device(i64),
        #[prost(int64, tag = "3")]
        Group(i64),
        #[prost(int64, tag = "4")]
        Org(i64),
    }
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Body {
        #[prost(message, tag = "7")]
        Command(super::Command),
    }
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct TraceContext {
    #[prost(string, tag = "1")]
    pub traceparent: ::prost::alloc::string::String,
    #[prost(string, tag = "2")]
    pub tracestate: ::prost::alloc::string::String,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Command {
    #[prost(bytes = "vec", tag = "1")]
    pub id: ::prost::alloc::vec::Vec<u8>,
    #[prost(string, tag = "2")]
    pub name: ::prost::alloc::string::String,
    #[prost(string, tag = "3")]
    pub args_json: ::prost::alloc::string::String,
    #[prost(int64, tag = "4")]
    pub expires_at_us: i64,
}
