//! Health checks as they are typed.

use clap::Args;

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Command that tells by its exit code whether the container is well
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// Time between two checks, such as 30s
    #[arg(long, value_name = "DURATION")]
    pub health_interval: Option<String>,
    /// A check that takes longer has failed
    #[arg(long, value_name = "DURATION")]
    pub health_timeout: Option<String>,
    /// So many failures in a row make a container unhealthy
    #[arg(long, value_name = "NUMBER")]
    pub health_retries: Option<u32>,
    /// Failures in this time do not count while the program begins
    #[arg(long, value_name = "DURATION")]
    pub health_start_period: Option<String>,
    /// Time between two checks in that time
    #[arg(long, value_name = "DURATION")]
    pub health_start_interval: Option<String>,
    /// Do not check, whatever the image says
    #[arg(
        long,
        conflicts_with_all = [
            "health_cmd",
            "health_interval",
            "health_timeout",
            "health_retries",
            "health_start_period",
            "health_start_interval",
        ]
    )]
    pub no_healthcheck: bool,
}
