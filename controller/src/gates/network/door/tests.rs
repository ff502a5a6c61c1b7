//! What is let through, and many ways to get by that are none.

use super::*;

fn door(endpoints: &[&str]) -> Door {
    Door {
        namespace: "shop".into(),
        configured: Some("http://prometheus.monitoring.svc:9090".into()),
        endpoints: endpoints.iter().map(ToString::to_string).collect(),
    }
}

/// In short: `service:web:80`, `name:host:443`, `trusted:host:9090`, `10.0.0.1:80`, or the refusal.
fn way(endpoints: &[&str], url: &str) -> String {
    match pass(&door(endpoints), url) {
        Err(why) => why,
        Ok(Allowed { way: Way::Service { name, port }, .. }) => format!("service:{name}:{port}"),
        Ok(Allowed { way: Way::Name { host, port, trusted }, .. }) => {
            format!("{}:{host}:{port}", if trusted { "trusted" } else { "name" })
        }
        Ok(Allowed { way: Way::Address(address), .. }) => address.to_string(),
    }
}

fn is_refused(endpoints: &[&str], url: &str) -> bool {
    way(endpoints, url).ends_with("is not allowed: spec.allow.endpoints of the Environment has no pattern for it")
}

#[test]
fn services_of_the_own_namespace_are_allowed_and_found_by_the_api_server() {
    for (url, found) in [
        ("http://web.shop.svc:8080/x", "service:web:8080"),
        ("http://web.shop.svc.cluster.local/", "service:web:80"),
        ("https://web.shop.svc.cluster.local./", "service:web:443"),
        ("http://WEB.Shop.SVC", "service:web:80"),
        ("http://web.shop", "service:web:80"),
        ("http://web", "service:web:80"),
        ("http://localhost:9090", "service:localhost:9090"),
    ] {
        assert_eq!(way(&[], url), found, "{url}");
        // A pattern does not make DNS the one to say where it is.
        assert_eq!(way(&["**:*"], url), found, "{url}");
    }
}

#[test]
fn nothing_else_is_allowed_without_a_pattern() {
    for url in [
        "http://web.other.svc:8080",
        "http://web.other",
        "http://web.shop.svc.cluster.local.evil.com",
        "http://web.shop.svc.evil.com",
        "http://web.shop.svc.cluster",
        "http://10-0-0-1.shop.pod.cluster.local",
        "http://pod-0.web.shop.svc",
        "http://evil.com",
        "http://prometheus.monitoring.svc",
        "http://prometheus.monitoring.svc:9091",
        "https://prometheus.monitoring.svc:9090",
        "http://prometheus.monitoring.svc:9090/other",
        "http://10.0.0.1",
        "http://[fd00::1]",
    ] {
        assert!(is_refused(&[], url), "{url}: {}", way(&[], url));
    }
}

#[test]
fn a_refusal_names_the_place_and_the_field_and_not_the_path() {
    assert_eq!(
        way(&[], "https://hooks.example.com/T000/B000/s3cret?token=s3cret"),
        "hooks.example.com:443 is not allowed: spec.allow.endpoints of the Environment has no pattern for it"
    );
}

#[test]
fn what_the_platform_team_configured_is_allowed_as_it_is() {
    assert_eq!(way(&[], "http://prometheus.monitoring.svc:9090"), "trusted:prometheus.monitoring.svc:9090");
    assert_eq!(way(&[], "http://prometheus.monitoring.svc:9090/"), "trusted:prometheus.monitoring.svc:9090");
    let at = |configured: &str| Door { configured: Some(configured.into()), ..door(&[]) };
    assert_eq!(
        pass(&at("http://127.0.0.1:9090/prom"), "http://127.0.0.1:9090/prom").unwrap().way,
        Way::Address("127.0.0.1:9090".parse().unwrap())
    );
    // One that all namespaces ask by DNS is asked by DNS in its own one too: it may be headless.
    let own = pass(&at("http://prometheus.shop.svc:9090"), "http://prometheus.shop.svc:9090").unwrap().way;
    assert_eq!(own, Way::Name { host: "prometheus.shop.svc".into(), port: 9090, trusted: true });
}

#[test]
fn patterns_are_of_hosts_and_ports() {
    let allowed = |pattern: &str, url: &str| !is_refused(&[pattern], url);
    assert!(allowed("hooks.example.com:443", "https://hooks.example.com/x"));
    assert!(allowed("Hooks.Example.COM:443", "https://hooks.example.com/x"));
    assert!(allowed("hooks.example.com", "https://hooks.example.com"));
    assert!(allowed("hooks.example.com", "http://hooks.example.com"));
    assert!(!allowed("hooks.example.com", "https://hooks.example.com:8443"));
    assert!(!allowed("hooks.example.com", "http://hooks.example.com:22"));
    assert!(allowed("hooks.example.com:*", "https://hooks.example.com:8443"));
    assert!(!allowed("hooks.example.com:443", "https://hooks.example.com:4430"));
    assert!(!allowed("hooks.example.com:4430", "https://hooks.example.com:443"));
    assert!(allowed("*.example.com", "https://hooks.example.com"));
    assert!(!allowed("*.example.com", "https://a.hooks.example.com"));
    assert!(!allowed("*.example.com", "https://example.com"));
    assert!(allowed("**.example.com", "https://a.hooks.example.com"));
    assert!(!allowed("**.example.com", "https://hooks-example.com"));
    assert!(!allowed("*.example.com", "https://hooks.example.com.evil.com"));
    assert!(!allowed("hooks.example.com", "https://hooksxexample.com"), "a dot is a dot");
    assert!(allowed("*.*.svc:9090", "http://prom.other.svc:9090"));
    for nonsense in ["", ":443", "example.com:99999", "example.com:port", "https://example.com", "example.com/x", "example.com:"]
    {
        assert!(!allowed(nonsense, "https://example.com"), "{nonsense}");
    }
}

#[test]
fn an_address_must_be_written_as_it_is() {
    let everything = ["**", "**:*", "*.*.*.*:*", "10.0.0.*:80"];
    for url in ["http://10.0.0.1", "http://127.0.0.1", "http://169.254.169.254", "http://[::1]", "http://[fd00:ec2::254]"] {
        assert!(is_refused(&everything, url), "{url}");
    }
    assert_eq!(way(&["10.0.0.1:80"], "http://10.0.0.1"), "10.0.0.1:80");
    assert_eq!(way(&["10.0.0.1"], "http://10.0.0.1"), "10.0.0.1:80");
    assert!(is_refused(&["10.0.0.1:81"], "http://10.0.0.1"));
    assert_eq!(way(&["[fd00::1]:9090"], "http://[FD00:0::1]:9090"), "[fd00::1]:9090");
    assert_eq!(way(&["[fd00::1]"], "https://[fd00::1]"), "[fd00::1]:443");
    assert!(is_refused(&["127.0.0.1:80"], "http://[::ffff:127.0.0.1]"));
    assert!(is_refused(&["fd00::1"], "http://[fd00::1]"), "brackets belong to it");
}

#[test]
fn however_loopback_is_written_it_is_not_let_through() {
    let names = ["*.example.com", "**", "**:*", "localhost"];
    for url in [
        "http://127.1",
        "http://127.0.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://0x7f.1",
        "http://0177.0.0.1",
        "http://017700000001",
        "http://127.0.0.1.",
        "http://127。0。0。1",
        "http://127.0.0.1",
        "http://①②⑦.0.0.1",
        "http://0",
        "http://0.0.0.0",
        "http://[::]",
        "http://[0:0:0:0:0:ffff:127.0.0.1]",
        "http://[::ffff:7f00:1]",
        "http://[::ffff:169.254.169.254]",
        "http://%31%32%37.0.0.1",
        "http:\\\\127.0.0.1\\x",
        "http:127.0.0.1",
        "http:///127.0.0.1",
        "  http://127.0.0.1  ",
        "ht\ntp://127.0.0.1",
    ] {
        assert!(is_refused(&names, url), "{url}: {}", way(&names, url));
    }
}

#[test]
fn what_is_no_plain_url_is_refused_before_anything_else() {
    let said = |url: &str| way(&["**:*"], url);
    for url in
        ["ftp://example.com", "file:///etc/passwd", "gopher://example.com:70", "unix:/var/run/x", "javascript:1", "data:,x"]
    {
        assert_eq!(said(url), "the URL is neither http nor https", "{url}");
    }
    for url in ["http://allowed.example.com@evil.com", "http://user@evil.com", "http://user:pw@evil.com", "http://a@b@evil.com"] {
        assert_eq!(said(url), "the URL has a user name in it: credentials belong into a Secret", "{url}");
    }
    assert_eq!(said("http://evil.com:0"), "the URL has no port that can be used");
    assert_eq!(said(&format!("http://evil.com/{}", "x".repeat(5_000))), "the URL is longer than 4096 characters");
    for url in [
        "",
        "web",
        "/x",
        "http://",
        "http://evil.com:99999",
        "http://ev il.com",
        "http://[::1",
        "http://[fe80::1%25eth0]",
        "http://1.2.3.4.5",
    ] {
        assert!(said(url).starts_with("the URL cannot be used: "), "{url}: {}", said(url));
    }
    for url in ["http://a..example.com", "http://.example.com", "http://example.com..", &format!("http://{}.com", "x".repeat(64))]
    {
        assert_eq!(said(url), "the URL's host is no name", "{url}");
    }
}

#[test]
fn what_looks_like_an_allowed_name_is_judged_by_what_it_is() {
    let allowed = ["hooks.example.com"];
    for url in [
        "https://evil.com/hooks.example.com",
        "https://evil.com?hooks.example.com",
        "https://evil.com#hooks.example.com",
        "https://evil.com#@hooks.example.com",
        "https://evil.com\\@hooks.example.com",
        "https://evil.com/@hooks.example.com",
        "https://hооks.example.com",
        "https://hooks.example.com.evil.com",
        "https://hooks.example.comevil.com",
    ] {
        assert!(is_refused(&allowed, url), "{url}: {}", way(&allowed, url));
    }
    for url in
        ["https://HOOKS.example.com", "https://hooks.example.com.", "https://ｈooks.example.com", "https://hooks。example。com"]
    {
        assert!(way(&allowed, url).starts_with("name:hooks.example.com"), "{url}: {}", way(&allowed, url));
    }
    assert_eq!(way(&["xn--bcher-kva.example:443"], "https://Bücher.example"), "name:xn--bcher-kva.example:443");
}

#[test]
fn a_name_must_not_lead_to_this_machine_its_node_or_nobody() {
    for bad in [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "169.254.170.2",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "::ffff:0:127.0.0.1",
        "::127.0.0.1",
        "::169.254.169.254",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "::ffff:168.63.129.16",
        "64:ff9b::100.100.100.200",
        "64:ff9b::192.0.0.192",
        "2002:a83f:8110::1",
        // A translator of one's own, with a prefix of 96 bits, of others of its subnets, of 64, 56 and 48.
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:abcd::127.0.0.1",
        "64:ff9b:1:ab:cd:ef:a83f:8110",
        "64:ff9b:1:7:7f:0:100:0",
        "64:ff9b:1:7f:0:1::",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1::",
    ] {
        assert!(!acceptable(bad.parse().unwrap()), "{bad}");
    }
    for good in [
        "10.96.0.10",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "168.63.129.17",
        "192.0.0.193",
        "1.1.1.1",
        "fd00::1",
        "2606:4700::1111",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::10.0.0.1",
        "64:ff9b:1:102:3:400::",
        "64:ff9b:2::7f00:1",
    ] {
        assert!(acceptable(good.parse().unwrap()), "{good}");
    }
}

#[test]
fn the_other_side_may_send_us_on_to_itself_or_to_where_a_pattern_allows() {
    let door = door(&["hooks.example.com", "status.example.com"]);
    let first = pass(&door, "https://hooks.example.com/gate").unwrap();
    let next = |url: &str| pass_on(&door, &first, url).map(|allowed| allowed.url.to_string());
    assert_eq!(next("https://hooks.example.com/runs/7"), Ok("https://hooks.example.com/runs/7".into()));
    assert_eq!(next("/runs/7"), Ok("https://hooks.example.com/runs/7".into()));
    assert_eq!(next("https://status.example.com/7"), Ok("https://status.example.com/7".into()));
    for (url, why) in [
        ("http://hooks.example.com/runs/7", "hooks.example.com:80 is not https"),
        ("https://web.shop.svc/delete", "web.shop.svc:443 is not where it was sent from"),
        ("https://web/delete", "web:443 is not where it was sent from"),
        ("https://user@hooks.example.com/", "the URL has a user name in it: credentials belong into a Secret"),
        ("https://user@evil.com/", "the URL has a user name in it: credentials belong into a Secret"),
        ("file:///etc/passwd", "the URL is neither http nor https"),
        ("https://[", "it is none"),
    ] {
        assert_eq!(next(url), Err(why.into()), "{url}");
    }
    for url in ["https://evil.com", "//evil.com", "https://hooks.example.com:8443/", "https://169.254.169.254/"] {
        assert!(next(url).unwrap_err().contains("is not allowed"), "{url}");
    }
    // The Prometheus of the platform team is no place for a webhook to name.
    let plain = pass(&door, "http://hooks.example.com/gate").unwrap();
    assert!(pass_on(&door, &plain, "http://prometheus.monitoring.svc:9090").unwrap_err().contains("is not allowed"));
}

#[test]
fn a_service_may_send_us_on_to_itself_alone() {
    let door = door(&[]);
    let first = pass(&door, "http://judge.shop.svc:8080/gate").unwrap();
    let own = pass_on(&door, &first, "http://judge.shop.svc:8080/runs/7").unwrap();
    assert_eq!(own.way, Way::Service { name: "judge".into(), port: 8080 });
    assert!(pass_on(&door, &first, "http://db.shop.svc:8080/").is_err());
    assert!(pass_on(&door, &first, "http://judge.shop.svc:9090/").is_err());
}

#[test]
fn a_pattern_of_many_stars_takes_no_time() {
    let pattern = "*a".repeat(200);
    assert!(is_refused(&[&pattern], &format!("https://{}.example.com", "a".repeat(63))));
}
