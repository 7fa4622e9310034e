//! Two servers on the same databases.

use std::collections::HashSet;

use super::harness::*;

#[test]
fn two_servers_on_the_same_databases_keep_one_gapless_order() {
    let subject = Subject::databases().members(&[("r", "ann"), ("r", "bob")]);
    let seqs: Vec<i64> = std::thread::scope(|scope| {
        let servers = ["ann", "bob"].map(|user| {
            let subject = &subject;
            scope.spawn(move || {
                let store = subject.start();
                let mut seqs = Vec::new();
                for batch in 0..30 {
                    let bodies = (0..20).map(|n| once("r", user, "x", &format!("{batch} {n}"), "1")).collect();
                    seqs.extend(store.ask_all(bodies).into_iter().map(|answer| stored(answer).seq));
                }
                seqs
            })
        });
        servers.into_iter().flat_map(|server| server.join().unwrap()).collect()
    });
    assert_eq!(seqs.iter().copied().collect::<HashSet<_>>(), (1..=1200).collect());
    assert_eq!(seqs.len(), 1200);
}
