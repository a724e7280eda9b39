//! One violation a function; the number of functions is what `.ci/run` expects clippy to count.

pub fn hash_order() -> usize {
    std::collections::HashMap::<u32, u32>::new().len()
}

pub fn hash_order_of_a_set() -> usize {
    std::collections::HashSet::<u32>::new().len()
}

pub fn host_time() -> std::time::Duration {
    std::time::Duration::from_secs(std::time::SystemTime::now().elapsed().map_or(0, |d| d.as_secs()))
}

pub fn monotonic_host_time() {
    let _ = std::time::Instant::now();
}

pub fn thread() {
    let _ = std::thread::spawn(|| {}).join();
}

pub fn environment() -> bool {
    std::env::var("HOME").is_ok()
}

pub fn file() -> bool {
    std::fs::File::open("/dev/null").is_ok()
}

pub fn global_state() -> u32 {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    COUNT.load(std::sync::atomic::Ordering::Relaxed)
}

pub fn hidden_mutation() -> u32 {
    *std::cell::RefCell::new(1).borrow()
}

pub fn float(x: f64) -> f64 {
    x.ln()
}

pub fn output() {
    println!("to whom?");
}
