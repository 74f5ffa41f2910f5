package wire

const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

// fields describes one message to a cursor. Bit n stands for field number n;
// all known numbers are below 64.
type fields struct {
	known    uint64
	repeated uint64
	closed   bool // an unknown field is malformed
}

// cursor walks over the fields of one message in strict order. The first
// problem sticks in err and ends the walk.
type cursor struct {
	buf    string
	pos    int
	fields fields
	num    uint32
	typ    uint8
	err    *Error
}

func (c *cursor) fail(fault Fault, field, problem string) {
	if c.err == nil {
		c.err = &Error{Fault: fault, Field: field, Problem: problem}
	}
	c.pos = len(c.buf)
}

// next moves to the next known field and reports whether there is one.
func (c *cursor) next() bool {
	for c.err == nil && c.pos < len(c.buf) {
		tag := c.uvarint()
		if c.err != nil {
			return false
		}
		if tag>>3 == 0 || tag > 1<<32-1 {
			c.fail(Malformed, "", "field number out of range")
			return false
		}
		last := c.num
		c.num, c.typ = uint32(tag>>3), uint8(tag&7)
		known := c.num < 64 && c.fields.known>>c.num&1 != 0
		switch {
		case c.num < last:
			c.fail(Malformed, "", "fields out of order")
		case known && c.num == last && c.fields.repeated>>c.num&1 == 0:
			c.fail(Malformed, "", "a singular field is repeated")
		case known:
			return true
		case c.fields.closed:
			c.fail(Malformed, "", "unknown field")
		case c.num >= firstCritical:
			c.fail(Unsupported, "", "unknown critical field")
		default:
			c.skip()
		}
	}
	return false
}

func (c *cursor) skip() {
	switch c.typ {
	case wireVarint:
		c.uvarint()
	case wire64:
		c.take(8)
	case wireBytes:
		c.take(c.length())
	case wire32:
		c.take(4)
	default:
		c.fail(Malformed, "", "wire type not allowed")
	}
}

// uvarint reads a varint that is minimal and fits 64 bits.
func (c *cursor) uvarint() uint64 {
	var v uint64
	for shift := uint(0); shift < 64 && c.pos < len(c.buf); shift += 7 {
		b := c.buf[c.pos]
		c.pos++
		if shift == 63 && b > 1 {
			break
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if b == 0 && shift > 0 {
				break
			}
			return v
		}
	}
	c.fail(Malformed, "", "bad varint")
	return 0
}

func (c *cursor) length() int {
	n := c.uvarint()
	if n > uint64(len(c.buf)-c.pos) {
		c.fail(Malformed, "", "truncated")
		return 0
	}
	return int(n)
}

func (c *cursor) take(n int) string {
	if c.err != nil || n > len(c.buf)-c.pos {
		c.fail(Malformed, "", "truncated")
		return ""
	}
	s := c.buf[c.pos : c.pos+n]
	c.pos += n
	return s
}

func (c *cursor) want(typ uint8, field string) bool {
	if c.typ != typ {
		c.fail(Malformed, field, "wrong wire type")
	}
	return c.err == nil
}

func (c *cursor) bytes(field string) string {
	if !c.want(wireBytes, field) {
		return ""
	}
	return c.take(c.length())
}

func (c *cursor) id(field string) ID {
	s := c.bytes(field)
	if c.err == nil && len(s) != len(ID{}) {
		c.fail(Malformed, field, "is not 16 bytes")
	}
	if c.err != nil {
		return ID{}
	}
	return ID([]byte(s))
}

func (c *cursor) text(field string) string {
	return c.checked(field, textProblem)
}

func (c *cursor) checked(field string, problem func(string) string) string {
	s := c.bytes(field)
	if c.err == nil {
		if p := problem(s); p != "" {
			c.fail(Malformed, field, p)
		}
	}
	return s
}

// count reads a varint that is not zero: a scalar with its default value is
// not written, so that a fact has one spelling.
func (c *cursor) count(field string, most uint64) uint64 {
	if !c.want(wireVarint, field) {
		return 0
	}
	v := c.uvarint()
	if c.err == nil && (v == 0 || v > most) {
		c.fail(Malformed, field, "out of range")
	}
	return v
}

func (c *cursor) time(field string) int64 {
	if !c.want(wireVarint, field) {
		return 0
	}
	v := int64(c.uvarint())
	if c.err == nil && v <= 0 {
		c.fail(Time, field, "is not a time after 1970")
	}
	return v
}

// message returns a cursor over an embedded message. The caller walks it and
// hands it to leave.
func (c *cursor) message(field string, f fields) cursor {
	return cursor{buf: c.bytes(field), fields: f, err: c.err}
}

func (c *cursor) leave(inner *cursor) {
	if inner.err != nil {
		c.fail(inner.err.Fault, inner.err.Field, inner.err.Problem)
	}
}
