package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"

	"github.com/onbehalf-dev/onbehalf/bff"
)

type servicesCmd struct {
	List   servicesList   `cmd:"" default:"withargs" help:"List who follows the feed of this edge, how stale each is, and how it verifies."`
	Enroll servicesEnroll `cmd:"" help:"Make a token with which a service enrols once."`
}

type servicesList struct {
	edgeCommand
}

// Help is what kong shows below the flags.
func (*servicesList) Help() string {
	return "BEHIND is for how long a service has not had what the edge knows; CERTIFICATE whether one proves its name to the feed; " +
		"KEYS how many link keys the service has, of all its instances; DIFFERS IN the settings of its verifier that most others do not have."
}

// Run is called by kong.
func (c *servicesList) Run(stdout io.Writer) error {
	return c.call(func(ctx context.Context, _ *bff.Config, edge bffv1connect.AdminServiceClient) error {
		list, err := edge.ListServices(ctx, &bffv1.ListServicesRequest{})
		if err != nil {
			return err
		}
		services := list.GetServices()
		slices.SortFunc(services, func(a, b *bffv1.ServiceInfo) int { return strings.Compare(a.GetService(), b.GetService()) })
		usual := usualSettings(services)
		if len(services) == 0 {
			_, err = fmt.Fprintln(stdout, "no service follows this edge")
			return err
		}
		t := newTable(stdout, "SERVICE", "INSTANCE", "CERTIFICATE", "SINCE", "BEHIND", "VERSION", "KEYS", "DIFFERS IN")
		for _, s := range services {
			proof := "no"
			if s.GetVerified() {
				proof = "yes"
			}
			behind := "0"
			if d := s.GetBehind().AsDuration(); d > 0 {
				behind = age(d)
			}
			var differs []string
			for _, setting := range s.GetSettings() {
				if !strings.HasPrefix(setting, "audience=") && usual[setting]*2 <= len(services) {
					differs = append(differs, setting)
				}
			}
			t.row(s.GetService(), fmt.Sprintf("%.4x", s.GetInstance()), proof, when(s.GetSince().AsTime()), behind,
				s.GetVersion(), strconv.Itoa(len(s.GetKeyIds())), strings.Join(differs, " "))
		}
		if err := t.flush(); err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%d follow this edge\n", len(services))
		return err
	})
}

// usualSettings counts how many services have a setting, so that one that
// differs is seen.
func usualSettings(services []*bffv1.ServiceInfo) map[string]int {
	count := make(map[string]int)
	for _, s := range services {
		for _, setting := range s.GetSettings() {
			count[setting]++
		}
	}
	return count
}

type servicesEnroll struct {
	edgeCommand

	Name string        `arg:"" help:"The service's name."`
	Life time.Duration `help:"For how long the token is good; 1h by default." default:"1h" placeholder:"DURATION"`
}

// Run is called by kong.
func (c *servicesEnroll) Run(stdout io.Writer) error {
	return c.call(func(ctx context.Context, _ *bff.Config, edge bffv1connect.AdminServiceClient) error {
		made, err := edge.CreateEnrollmentToken(ctx, &bffv1.CreateEnrollmentTokenRequest{Service: c.Name, Life: durationpb.New(c.Life)})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(stdout, made.GetToken()) // alone on the output, for a pipe
		return err
	})
}
