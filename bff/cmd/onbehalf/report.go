package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/access"
	"github.com/onbehalf-dev/onbehalf/bff/internal/observed"
)

type reportCmd struct {
	Logs     []string  `arg:"" help:"Logs of services, and audit records of edges, also compressed by gzip; - for the standard input."`
	Rules    string    `help:"A descriptor set, to list methods that nobody has called." placeholder:"FILE"`
	Since    sinceTime `help:"Only what came later, as 72h, 7d, 2026-01-31 or 2026-01-31T15:04:05Z." placeholder:"TIME"`
	Fail     bool      `help:"Exit with 1 if something would be refused, or nothing was decided."`
	Subjects bool      `help:"Name the users, and not only how many there are."`
	Output   string    `short:"o" help:"text, markdown or json; text unless chosen." enum:"text,markdown,json" default:"text" placeholder:"FORMAT"`
	Width    int       `help:"How long the lines of text may be; 80 characters at least." default:"80" placeholder:"N"`
}

// Help is what kong shows below the flags.
func (*reportCmd) Help() string {
	return "Services with ObserveOnly, and routes of an edge with observe: true, let through what they would refuse, and log it: " +
		"services by NewLogObserver over a handler of slog, an edge in its audit records. " +
		"For each method it is said how many calls would be refused, why, and who makes them; with the audit records also by which route they came in.\n\n" +
		"Other lines of a log are skipped, also what CRI or kubectl --prefix put before a line is. " +
		"A caller's name is what the chain claims, unless the service asks for client certificates. " +
		"Up to 2,000 methods are told apart. It asks nobody, and changes nothing."
}

// Run is called by kong.
func (c *reportCmd) Run(stdout io.Writer) (err error) {
	expected, err := c.expected()
	if err != nil {
		return err
	}
	inputs, size, closeAll, err := c.open()
	defer closeAll()
	if err != nil {
		return err
	}
	bar := newProgress(size)
	for i := range inputs {
		inputs[i].Reader = &counted{inputs[i].Reader, bar}
	}
	report := observed.New(time.Time(c.Since))
	err = report.Add(inputs...)
	bar.done()
	if err != nil {
		return err
	}
	report.Expect(expected)
	o := observed.Options{Subjects: c.Subjects, Width: c.Width}
	switch c.Output {
	case "markdown":
		err = report.Markdown(stdout, o)
	case "json":
		err = report.JSON(stdout, o)
	default:
		err = report.Text(stdout, o)
	}
	switch {
	case err != nil || !c.Fail:
		return err
	case report.WouldRefuse > 0:
		return fmt.Errorf("%d of %d calls would be refused", report.WouldRefuse, report.Calls)
	case report.Calls == 0:
		return errors.New("nothing was decided in these logs: name those of a service with NewLogObserver")
	}
	return nil
}

// open returns the logs, and how many bytes they have; 0 if that is not known.
func (c *reportCmd) open() (inputs []observed.Input, size int64, closeAll func(), err error) {
	var files []*os.File
	closeAll = func() {
		for _, f := range files {
			_ = f.Close() // it was only read
		}
	}
	known := true
	for _, name := range c.Logs {
		if name == "-" {
			inputs, known = append(inputs, observed.Input{Name: "the standard input", Reader: os.Stdin}), false
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, 0, closeAll, err
		}
		files = append(files, f)
		if info, err := f.Stat(); err == nil {
			size += info.Size()
		}
		inputs = append(inputs, observed.Input{Name: name, Reader: f})
	}
	if !known {
		size = 0
	}
	return inputs, size, closeAll, nil
}

// expected returns the methods of the descriptor set.
func (c *reportCmd) expected() ([]string, error) {
	if c.Rules == "" {
		return nil, nil
	}
	data, err := os.ReadFile(c.Rules)
	if err != nil {
		return nil, err
	}
	files, err := access.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Rules, err)
	}
	var methods []string
	for _, file := range files {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				methods = append(methods, fmt.Sprintf("/%s/%s", service.FullName(), service.Methods().Get(j).Name()))
			}
		}
	}
	return methods, nil
}
