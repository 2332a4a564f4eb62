# Everything that is done with Quadrille. `deploy/just <recipe>` fetches the pinned `just` and `nats-server` first; a
# `just` of your own works too.

# What fails has said why.
set no-exit-message

quadrille := "target/release/quadrille"

# list the recipes
_default:
    @{{ just_executable() }} --justfile {{ quote(justfile()) }} --list --unsorted

# run nats-server (or use the one at NATS_URL), the four services and the console until Ctrl-C
run-all: _nats-server _services
    @exec {{ quadrille }} run-all

# drive a handful of orders through every ending and print each one's story
[positional-arguments]
demo *args: _quadrille
    @exec {{ quadrille }} demo "$@"

# follow the events as they are committed: of all orders, or of one
[positional-arguments]
watch *order_id: _quadrille
    @exec {{ quadrille }} watch "$@"

# check every invariant on the running system
[positional-arguments]
audit *args: _quadrille
    @exec {{ quadrille }} audit "$@"

# compare the replicas of every stream with each other, and the buckets with EVENTS
[positional-arguments]
scrub *args: _quadrille
    @exec {{ quadrille }} scrub "$@"

# show one order's events as a tree: what caused what, and when
[positional-arguments]
trace order_id: _quadrille
    @exec {{ quadrille }} trace "$@"

# list the orders that wait longer than their step should take
[positional-arguments]
stuck *args: _quadrille
    @exec {{ quadrille }} stuck "$@"

# list the inputs that no service could handle
[positional-arguments]
dead-letters *args: _quadrille
    @exec {{ quadrille }} dead-letters "$@"

# show one of them
[positional-arguments]
dead-letter id: _quadrille
    @exec {{ quadrille }} dead-letter "$@"

# hand dead letters to their service again
[positional-arguments]
retry *args: _quadrille
    @exec {{ quadrille }} retry "$@"

# write the map of the choreography anew: events/CHOREOGRAPHY.md, events/asyncapi.yaml and what the audit takes from it
map:
    @cargo run --quiet --package quadrille-map

# measure orders per second, latency, CPU and memory, beside what the broker itself can do
[positional-arguments]
bench *args: _nats-server _services
    @cargo build --release --locked --package quadrille-bench
    @exec target/release/bench "$@"

# what CI runs: format, clippy with warnings as errors, all tests, the stories once more in the other flow
verify: _nats-server
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- --deny warnings
    cargo build --workspace --bins --locked
    QUADRILLE_BUILT=1 cargo test --workspace --locked
    QUADRILLE_BUILT=1 FLOW=reserve-first cargo test --workspace --locked --test stories

# run the tests, all or those that cargo's arguments pick: `just test -p quadrille-payment`
[positional-arguments]
test *args: _nats-server
    @cargo build --workspace --bins --locked
    @cargo test {{ if args == "" { "--workspace" } else { "" } }} --locked "$@"

# check the shipped decisions in a world where everything goes wrong: every state of it (`--full`: the large worlds too)
[positional-arguments]
model *args:
    @cargo run --quiet --locked --package quadrille-model -- "$@"

# make seeded mistakes one by one, and show which claim catches each (`--stories`: and how)
[positional-arguments]
mutants *args:
    @cargo run --quiet --locked --package quadrille-model -- --mutants "$@"

# strike the running system again and again, in ten ways, and check that nothing is lost or doubled: half an hour
# (`--short`: two minutes; `--only kill-broker`; `--seed N`)
[positional-arguments]
faults *args: _nats-server _services
    @cargo build --release --locked --package quadrille-faults
    @exec target/release/faults "$@"

# format the code
fmt:
    cargo fmt --all

# see to the pinned nats-server; the tests and run-all use it
_nats-server:
    @deploy/just --nats-server-only

# what run-all starts: the four services, the console, and quadrille itself
_services:
    @test -x {{ quadrille }} || echo "building the services, the console and quadrille; the first time all that they use is compiled, which takes some minutes" >&2
    @cargo build --release --locked --package quadrille-order --package quadrille-payment --package quadrille-inventory --package quadrille-delivery --package quadrille-console --package quadrille-cli

_quadrille:
    @cargo build --quiet --release --locked --package quadrille-cli
