package netaddr

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

var (
	hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)
	number   = regexp.MustCompile(`^([0-9]+|0[xX][0-9a-fA-F]*)$`)
)

// CheckForm returns an error, which says what to write instead, for a URL whose
// host or port has more than one reading: what one program takes for a name is
// 127.0.0.1 to the next one (0x7f.1, 2130706433).
func CheckForm(u *url.URL) error {
	host := u.Hostname()
	switch {
	case host == "":
		return errors.New("has no host; write one")
	case strings.ContainsAny(u.Host, "%"):
		return errors.New("has a percent sign in its host; write the plain name or address")
	case strings.HasSuffix(host, "."):
		return errors.New("has a dot at the end of its host; leave it out")
	}
	port := u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); strings.HasSuffix(u.Host, ":") || port != "" && (err != nil || n == 0) {
		return errors.New("has a port that is none; write one of 1 to 65535, or leave it and its colon out")
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil && addr.Is4In6():
		return errors.New("has an IPv4 address in the form of IPv6; write the IPv4 address")
	case err == nil && (addr.String() != host || addr.Is6() != strings.HasPrefix(u.Host, "[")):
		return errors.New("has an IP address in an unusual form; write " + addr.String())
	case err == nil:
		return nil
	case number.MatchString(host[strings.LastIndexByte(host, '.')+1:]):
		return errors.New("has a number for a host that some read as an IP address; write four decimal numbers or a name")
	case !hostName.MatchString(host) || len(host) > 253:
		return errors.New("has a host that is no name; write letters, digits, dots and hyphens, other languages as xn--")
	default:
		return nil
	}
}
