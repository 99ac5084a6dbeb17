package flags

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

var foreign = Foreign{
	{Why: "it is so", Texts: []string{"old-text"}, Bools: []string{"old-truth"}, Numbers: []string{"old-number"}, Spans: []string{"old-span"}},
	{Why: "it cannot be", Refuse: true, Texts: []string{"no-text"}, Bools: []string{"no-truth"}, Numbers: []string{"no-number"}},
}

// run gives what a command prints and logs, and its error.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	log := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	t.Cleanup(func() { slog.SetDefault(log) })
	c := Version(&cli.Command{
		Name: "role", Flags: append([]cli.Flag{&cli.IntFlag{Name: "count"}}, append(foreign.Flags(), TLSFlags("x")...)...),
		Action: func(c *cli.Context) error {
			if err := foreign.Check(c); err != nil {
				return err
			}
			_, err := TLSFrom(c)
			return err
		},
	}, "Thing v1", func() string { return "raw" })
	Usage([]*cli.Command{c})
	app := &cli.App{Name: "app", Writer: &out, Commands: []*cli.Command{c}, ExitErrHandler: func(*cli.Context, error) {}}
	err := app.RunContext(t.Context(), append([]string{"app", "role"}, args...))
	return out.String(), err
}

func TestForeignFlags(t *testing.T) {
	for args, want := range map[string]struct{ out, err string }{
		"":                                  {"", ""},
		"--old-text=a":                      {"flag=--old-text", ""},
		"--old-truth":                       {"flag=--old-truth", ""},
		"--old-truth=false --old-number=50": {"flag=--old-number", ""},
		"--old-span 5s":                     {`why="it is so"`, ""},
		"--old-span 5":                      {"", "missing unit"},
		"--old-number=many":                 {"", "invalid value"},
		"--old-truth=perhaps":               {"", "invalid"},
		"--no-text=x":                       {"", "--no-text is not supported: it cannot be"},
		"--no-text=":                        {"", ""},
		"--no-truth":                        {"", "--no-truth is not supported"},
		"--no-truth=false --no-number=0":    {"", ""},
		"--no-number=3":                     {"", "--no-number is not supported"},
		"--what":                            {"", "unknown flag: --what"},
		"--count=x":                         {"", "see --help"},
		"--version":                         {"Thing v1\n", ""},
		"--version=raw":                     {"raw\n", ""},
		"--version=v1.2.3":                  {"", "cannot be set"},
		"--tls-min-version=VersionTLS13":    {"", ""},
		"--tls-min-version=VersionTLS10":    {"", "not safe"},
		"--tls-min-version=1.2":             {"", "unknown tls version"},
		"--tls-cipher-suites=TLS_NONE":      {"", "TLS_NONE"},
	} {
		out, err := run(t, strings.Fields(args)...)
		switch {
		case want.err == "" && err != nil, want.err != "" && (err == nil || !strings.Contains(err.Error(), want.err)):
			t.Errorf("%q: %v, want %q", args, err, want.err)
		case !strings.Contains(out, want.out):
			t.Errorf("%q printed %q, want %q", args, out, want.out)
		case want.out == "" && out != "":
			t.Errorf("%q printed %q", args, out)
		}
	}
}

func TestTLSApplies(t *testing.T) {
	o, err := ParseTLS("VersionTLS13", []string{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"})
	if err != nil {
		t.Fatal(err)
	}
	o.Curves = []tls.CurveID{tls.X25519}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	o.Apply(c)
	if c.MinVersion != tls.VersionTLS13 || len(c.CipherSuites) != 1 || c.CurvePreferences[0] != tls.X25519 {
		t.Errorf("%+v", c)
	}
	same := &tls.Config{MinVersion: tls.VersionTLS12}
	TLS{}.Apply(same)
	if same.MinVersion != tls.VersionTLS12 || same.CipherSuites != nil {
		t.Errorf("nothing said changes something: %+v", same)
	}
}
