//! Behind the load balancer: leaving cleanly, and devices that come back elsewhere.
