package bff

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

const anyOrigin = "*"

var (
	corsMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
	headerName  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
)

func (v *validator) cors(at string, c *CORS, auth Auth) {
	if c == nil {
		return
	}
	if len(c.Origins) == 0 {
		v.problemf(at+".origins", "missing; name the origins of the pages, such as https://shop.example, or remove cors")
	}
	for i, origin := range c.Origins {
		key := fmt.Sprintf("%s.origins[%d]", at, i)
		if problem := originProblem(origin); problem != "" {
			v.problemf(key, "%.64q %s", origin, problem)
		} else if slices.Contains(c.Origins[:i], origin) {
			v.problemf(key, "%q is there already; remove it", origin)
		}
	}
	if slices.Contains(c.Origins, anyOrigin) {
		v.anyOrigin(at, c, auth)
	}
	for i, method := range c.Methods {
		if !slices.Contains(corsMethods, method) {
			v.problemf(fmt.Sprintf("%s.methods[%d]", at, i), "%.64q is unknown; take some of %s", method, strings.Join(corsMethods, ", "))
		}
	}
	v.corsHeaders(at+".headers", c.Headers)
	v.corsHeaders(at+".expose", c.Expose)
	if c.MaxAge != 0 {
		between(v, at+".max_age", c.MaxAge, time.Second, 24*time.Hour)
	}
}

// anyOrigin refuses what would let every page of the web act for its visitors.
func (v *validator) anyOrigin(at string, c *CORS, auth Auth) {
	if len(c.Origins) > 1 {
		v.problemf(at+".origins", `"*" is every origin; remove it, or the others`)
	}
	if auth != AuthNone {
		v.problemf(at+".origins", `"*" is for routes with auth: none; name each origin`)
	}
	if c.Credentials {
		v.problemf(at+".credentials", `must not be together with the origin "*"; remove one of them`)
	}
}

// originProblem returns what is wrong with an origin that browsers would write in
// another way, or never.
func originProblem(origin string) string {
	const form = "is not an origin; write a scheme, a host and perhaps a port, in lower case, such as https://shop.example"
	switch {
	case origin == anyOrigin:
		return ""
	case origin == "null":
		return "is the origin of all pages that have none, so anybody's; name an origin"
	case strings.Contains(origin, "*"):
		return "is a pattern; name each origin"
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Scheme+"://"+u.Host != origin || strings.ToLower(origin) != origin {
		return form
	}
	if err := netaddr.CheckForm(u); err != nil {
		return err.Error()
	}
	if u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
		return "has the port that its scheme has anyway, which browsers leave out; leave it out"
	}
	return ""
}

func (v *validator) corsHeaders(at string, names []string) {
	for i, name := range names {
		key := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case name == "*":
			v.problemf(key, `"*" does not cover Authorization in browsers; name each header`)
		case !headerName.MatchString(name):
			v.problemf(key, "%.64q is not the name of a header; use up to 128 letters, digits and hyphens", name)
		case principal.IsAlias(name):
			v.problemf(key, "%.64q stays between the edge and services; remove it", name)
		}
	}
}
