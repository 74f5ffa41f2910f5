package doctor

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff"

	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

// renewBefore is how long before its end a certificate should have been renewed.
const renewBefore = 7 * 24 * time.Hour

// configuration returns nil if it cannot be used.
func (d *doctor) configuration() (*bff.Config, []Finding) {
	cfg, err := bff.LoadConfig(d.Path)
	if errors.Is(err, fs.ErrNotExist) && len(d.Services)+len(d.MustNotReach) > 0 {
		return nil, one("config", Unknown, d.Path+" is not here: only what the command line names is looked at")
	}
	if err != nil {
		return nil, lines("config", err)
	}
	if err := bff.Check(cfg, bff.WithLogger(slog.New(slog.DiscardHandler)), bff.WithClock(d.Now)); err != nil {
		return cfg, lines("config", err)
	}
	return cfg, one("config", OK, d.Path+" is valid, and the files that it names can be read")
}

// lines makes a problem of each line of an error.
func lines(name string, err error) []Finding {
	var found []Finding
	for line := range strings.Lines(err.Error()) {
		found = append(found, Finding{Check: name, Status: Problem, Text: strings.TrimSuffix(line, "\n")})
	}
	return found
}

// ofConfig returns the checks of what a configuration names.
func (d *doctor) ofConfig(cfg *bff.Config) []check {
	checks := []check{
		fixed(dataDir(cfg.DataDir)...),
		fixed(
			public(cfg),
			mesh(cfg),
			admin(cfg.Listen.Admin),
		),
		fixed(d.certificate("tls", cfg.TLS.Cert, cfg.TLS.Key)...),
		fixed(d.certificate("mesh_tls", cfg.MeshTLS.Cert, cfg.MeshTLS.Key)...),
		d.store(cfg),
	}
	for i := range cfg.Issuers {
		checks = append(checks, d.issuer(fmt.Sprintf("issuers[%d]", i), &cfg.Issuers[i]))
	}
	return append(checks, d.ofRoutes(cfg)...)
}

func public(cfg *bff.Config) Finding {
	f := Finding{Check: "listen.public", Status: OK, Text: cfg.Listen.Public + " has TLS"}
	switch {
	case cfg.TLS.Cert != "":
	case loopback(cfg.Listen.Public):
		f.Text = cfg.Listen.Public + " is for this machine only"
	default:
		f.Status, f.Text = Warning, cfg.Listen.Public+" can be reached from elsewhere and has no TLS: "+
			"access tokens are readable on the way; set tls, or be sure that what provides it is the only one that gets there"
	}
	return f
}

func mesh(cfg *bff.Config) Finding {
	f := Finding{Check: "listen.mesh", Status: OK}
	switch {
	case cfg.MeshTLS.Cert != "" && cfg.MeshTLS.ClientCA != "":
		f.Text = cfg.Listen.Mesh + " has TLS, and services show certificates"
	case cfg.MeshTLS.Cert != "":
		f.Text = cfg.Listen.Mesh + " has TLS; services enrol with tokens"
	case loopback(cfg.Listen.Mesh):
		f.Text = cfg.Listen.Mesh + " is for this machine only: services elsewhere cannot join"
	default:
		f.Status, f.Text = Problem, cfg.Listen.Mesh+" can be reached from elsewhere and has no TLS: "+
			"whoever is on the way can exchange the keys that services fetch, and none but those on this machine can join; set mesh_tls"
	}
	return f
}

func admin(address string) Finding {
	if loopback(address) {
		return Finding{Check: "listen.admin", Status: OK, Text: address + " is for this machine only"}
	}
	return Finding{Check: "listen.admin", Status: Warning, Text: address + " can be reached from elsewhere: " +
		"only the token keeps others out where a proxy on this machine passes them on; write 127.0.0.1, and let onbehalf probe ask for health"}
}

// loopback reports whether an address to listen on can be reached from this
// machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && netaddr.IsLoopback(host)
}

// certificate looks at when a certificate ends. That it can be read was looked at
// before.
func (d *doctor) certificate(name, certFile, keyFile string) []Finding {
	if certFile == "" {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil || cert.Leaf == nil {
		return nil
	}
	from, until, now := cert.Leaf.NotBefore, cert.Leaf.NotAfter, d.Now()
	end := until.UTC().Format(time.DateTime) + " UTC"
	switch {
	case now.Before(from):
		return one(name, Problem, certFile+" is not valid yet: look at the clock")
	case now.After(until):
		return one(name, Problem, certFile+" ended at "+end+": renew it")
	case until.Sub(now) < min(renewBefore, until.Sub(from)/3):
		return one(name, Warning, certFile+" ends at "+end+": renew it, and look why that has not happened by itself")
	default:
		return one(name, OK, certFile+" is good until "+end)
	}
}
