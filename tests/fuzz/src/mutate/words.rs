//! Words that mean something somewhere here, and characters that mean trouble everywhere.

/// Pieces of the grammars, of field names, of limits.
pub(super) const WORDS: &[&str] = &[
    // images
    "docker.io/", "localhost:5000/", "[::1]:443/", "https://", "library/", ":latest", ":v1", "@sha256:",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "@sha512:", ":65536/", "..", "__", "___", "-", "//",
    // durations
    "ms", "s", "m", "h", "d", "365d", "366d", "1e18h", "9223372036854775807", "18446744073709551616", "99999999999h", "-1s", "0s", "1.5h",
    // variables
    "$(env.name)", "$(vars.x)", "$(artifacts.web.image)", "$(artifacts.web.tag)", "$(artifacts.web.digest)", "$(artifacts.site.tag)",
    "$(artifacts.nobody.image)", "$(release.name)", "$(release.namespace)", "$(release.track)", "$(release.revision)", "$(HOME)", "$$", "$(",
    ")", "$$(env.name)", "$(env.", "$(.)", "$(env.name", "${env.name}", "{{ .Values.x }}",
    // annotations, labels, records
    "blue", "green", "none", "bascule.dev/track", "bascule.dev/release", "BakeFailed ", "Aborted ", "Reverted ", ": ", " of ", "released",
    "2026-01-05T10:00:00Z", "web", "web-blue", "web-preview",
    // JSON and numbers
    "null", "true", "{}", "[]", "-1", "2147483648", "1e400", "-0", "1E+2", "\\u0000", "\\ud800", "\"", "\\",
];

/// Characters that break assumptions: bytes that are not characters, characters that are several bytes, characters that move others.
pub(super) const CHARACTERS: &[&str] = &[
    "ä", "ß", "İ", "ſ", "K", "中", "🦀", "👩‍👩‍👧", "\u{301}", "\u{200b}", "\u{202e}", "\u{feff}", "\u{2028}", "\u{0}", "\u{1b}[31m", "\r\n", "\t", "\u{7f}",
    "\u{85}", "\u{a0}", "\u{10ffff}", "٣", "１", "％",
];
