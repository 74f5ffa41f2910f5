package bff

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/onbehalf-dev/onbehalf/bff/internal/strictyaml"
)

// maxConfig is more than any configuration that somebody wrote.
const maxConfig = 1 << 20

// LoadConfig reads a configuration file, sets the defaults in it and checks it.
// It is strict: what it does not know, or is not sure about, is an error. Its
// error has a line for each mistake (as its tree has an error), which says where
// it is and what to write instead:
//
//	onbehalf.yaml:12: routes[2].audience: missing; name the service that principals are for, or write mode: relay
//
// Files that the configuration names are not opened; see [Check].
func LoadConfig(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	at := &location{file: path}
	if len(data) > maxConfig {
		return nil, at.err(problem{text: "is longer than 1 MiB"})
	}
	cfg := new(Config)
	errs := at.decode(data, cfg)
	if errs == nil { // otherwise what is missing may be there, misspelt
		cfg.resolve(filepath.Dir(path))
		cfg.setDefaults()
		for _, p := range cfg.problems() {
			errs = append(errs, at.err(p))
		}
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return cfg, nil
}

// location says where in a file a problem is.
type location struct {
	file  string
	lines strictyaml.Lines
}

// decode reads data into what v points to. It returns an error for each mistake.
func (l *location) decode(data []byte, v any) (errs []error) {
	lines, mistakes := strictyaml.Decode(data, v)
	l.lines = lines
	for _, m := range mistakes {
		errs = append(errs, l.format(m.Line, m.Path, m.Text))
	}
	return errs
}

func (l *location) err(p problem) error {
	return l.format(l.lines.Of(p.path), p.path, p.text)
}

func (l *location) format(line int, path, text string) error {
	at := l.file
	if at == "" {
		return problem{path: path, text: text}
	}
	if line > 0 {
		at = fmt.Sprintf("%s:%d", l.file, line)
	}
	return fmt.Errorf("%s: %w", at, problem{path: path, text: text})
}

// resolve makes paths relative to dir.
func (c *Config) resolve(dir string) {
	paths := []*string{
		&c.DataDir, &c.SigningKey, &c.LinkKeys, &c.TLS.Cert, &c.TLS.Key, &c.MeshTLS.Cert, &c.MeshTLS.Key,
		&c.MeshTLS.ClientCA, &c.Store.Credentials, &c.Store.CA, &c.Store.Cert, &c.Store.Key, &c.Audit.File,
		&c.Enrich.Table, &c.Enrich.CA, &c.Enrich.ClientCert, &c.Enrich.ClientKey,
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		paths = append(paths, &r.CA, &r.ClientCert, &r.ClientKey)
	}
	if c.DataDir == "" {
		c.DataDir = defaultDataDir
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
