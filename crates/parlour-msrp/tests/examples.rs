//! The examples run.
#![expect(
    unreachable_pub,
    dead_code,
    reason = "each example is a program, of which its `main` is not called here"
)]

#[path = "../examples/behind_relay.rs"]
mod behind_relay;
#[path = "../examples/echo.rs"]
mod echo;
#[path = "../examples/send_file.rs"]
mod send_file;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn echo_hears_what_it_says() {
    echo::run(words("one two three")).await.expect("all comes back");
    echo::run(words("--help")).await.expect("there is help");
    echo::run(words("--nonsense")).await.expect_err("that is no option");
}

#[tokio::test]
async fn two_talk_through_a_relay() {
    behind_relay::run(Vec::new()).await.expect("both are heard");
    behind_relay::run(words("--help")).await.expect("there is help");
}

#[tokio::test]
async fn a_file_arrives_as_it_was_sent() {
    send_file::run(Vec::new()).await.expect("the hashes are the same");
    // One that is small enough to stay in memory.
    send_file::run(vec![format!("{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"))])
        .await
        .expect("the hashes are the same");
}
