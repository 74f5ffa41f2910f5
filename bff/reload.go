package bff

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
)

// What Reload can change. All else is in use by what outlives a request: a key
// that is not listed here needs a restart.
var (
	reloadable       = []string{"enrich", "issuers", "routes", "services", "trusted_proxies"}
	reloadableLimits = []string{"body_bytes", "mint_window", "credentials", "drain_delay", "drain"}
)

// Reload puts cfg in force for requests that begin from then on, and has the
// files read anew that its routes and enrich name. Requests that are under way,
// streams too, go on by the rules that they began with; credentials are verified
// anew. Unless issuers change, those that have been verified before still count as
// such for limits.requests and limits.failed_credentials.
// It can change enrich, issuers, routes, services, trusted_proxies, and of limits
// body_bytes, mint_window, credentials, drain and drain_delay.
//
// The error has a line for each problem, also for each other key that is not as
// it was and needs a restart. Then nothing has changed. Either way there is an
// audit record. It waits for issuers as [New] does; the keys of one that does not
// answer, and was there before, go on to be good. It is safe for concurrent use.
func (s *Server) Reload(cfg *Config) error {
	s.reload.Lock()
	defer s.reload.Unlock()
	event := audit.Event{Time: s.now(), Action: audit.ActionReload, Decision: audit.Allowed}
	err := s.replace(cfg)
	if err != nil {
		event.Decision, event.Detail = audit.Refused, "the configuration is not valid: see the log"
	}
	s.audit.WriteEvent(context.Background(), &event)
	s.metrics.Reloaded(err == nil)
	return err
}

func (s *Server) replace(cfg *Config) error {
	if s.closed {
		return errors.New("the edge has stopped")
	}
	c, err := cfg.checked(s.options)
	if err != nil {
		return err
	}
	old := s.rules.Load()
	if err := errors.Join(
		fixed("", reflect.ValueOf(*old.config), reflect.ValueOf(*c), append(slices.Clone(reloadable), "limits")),
		fixed("limits.", reflect.ValueOf(old.config.Limits), reflect.ValueOf(c.Limits), reloadableLimits),
	); err != nil {
		return err
	}
	next, err := s.newRules(c)
	if err != nil {
		return err
	}
	if reflect.DeepEqual(old.config.Issuers, c.Issuers) {
		next.minter.Acquaint(old.minter)
	}
	s.enforce(next)
	unused := old.users.stop()
	s.retiring.Go(func() {
		<-unused
		_ = old.close() // nothing is lost: they only held connections and keys of others
	})
	return nil
}

// fixed returns an error for each field that has changed and may not.
func fixed(prefix string, old, next reflect.Value, may []string) error {
	var errs []error
	for i := range old.NumField() {
		key := old.Type().Field(i).Tag.Get("yaml")
		if !slices.Contains(may, key) && !reflect.DeepEqual(old.Field(i).Interface(), next.Field(i).Interface()) {
			errs = append(errs, fmt.Errorf("%s%s: has changed, which needs a restart", prefix, key))
		}
	}
	return errors.Join(errs...)
}
