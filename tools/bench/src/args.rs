//! The options of the benchmark.

/// Measures orders per second, latency, CPU, memory and storage per order; with `sync_interval: always`.
#[derive(clap::Parser, Clone, Debug)]
pub struct BenchArgs {
    /// How many orders may be in flight at once, one series of runs each.
    #[arg(long, value_delimiter = ',', default_value = "1,32,256,1024")]
    pub in_flight: Vec<usize>,
    /// Orders per run (fewer for a single order in flight: see `--seconds`).
    #[arg(long, default_value_t = 20_000)]
    pub orders: usize,
    /// No run takes much longer than this.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Runs per figure; the median is shown.
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// Instead of keeping orders in flight, send this many a second, whatever happens (no coordinated omission).
    #[arg(long)]
    pub rate: Option<f64>,
    /// How many items the orders spread over; 1 is a hot item.
    #[arg(long, default_value_t = 100)]
    pub items: usize,
    /// Instances of every service.
    #[arg(long, default_value_t = 1)]
    pub instances: usize,
    /// Instead, let one system grow to these numbers of stored orders, and measure at each.
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["rate", "in_flight"])]
    pub growth: Vec<usize>,
    /// Replicas of every stream: 3 starts a cluster of three servers, on this machine. (Without the limit, which is that of one server.)
    #[arg(long, default_value_t = 1)]
    pub replicas: usize,
    /// Runs the console beside it, to see what it costs.
    #[arg(long)]
    pub console: bool,
    /// What the services log: `info` is a line per decision, as by default; it costs.
    #[arg(long, default_value = "warn,quadrille_runtime::run=info")]
    pub log: String,
    /// Lines for the nats-server's configuration, to try them or to profile it: `prof_port: 6060`.
    #[arg(long, default_value = "")]
    pub nats_config: String,
    /// Leaves out the loop that finds the broker's limit.
    #[arg(long)]
    pub no_limit: bool,
}
