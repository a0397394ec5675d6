--
-- PostgreSQL database dump
--

\restrict fJeg6JvLDJ8j0tSC1COiVaZ2HOXZzaYbRJHYM0RlqK2QtUpfxnakqTZGLrETa6u

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: private_keys; Type: TABLE; Schema: public; Owner: signer
--

CREATE TABLE public.private_keys (
    id integer NOT NULL,
    created_at timestamp without time zone,
    updated_at timestamp without time zone,
    deleted_at timestamp without time zone,
    key_id character varying(255) NOT NULL,
    encryption_alg character varying(255) NOT NULL,
    keywrap_alg character varying(255) NOT NULL,
    algorithm character varying(50) NOT NULL,
    passphrase_alias character varying(50) NOT NULL,
    public bytea NOT NULL,
    private bytea NOT NULL,
    gun character varying(255) NOT NULL,
    role character varying(255) NOT NULL,
    last_used timestamp without time zone
);


ALTER TABLE public.private_keys OWNER TO signer;

--
-- Name: private_keys_id_seq; Type: SEQUENCE; Schema: public; Owner: signer
--

CREATE SEQUENCE public.private_keys_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER TABLE public.private_keys_id_seq OWNER TO signer;

--
-- Name: private_keys_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: signer
--

ALTER SEQUENCE public.private_keys_id_seq OWNED BY public.private_keys.id;


--
-- Name: private_keys id; Type: DEFAULT; Schema: public; Owner: signer
--

ALTER TABLE ONLY public.private_keys ALTER COLUMN id SET DEFAULT nextval('public.private_keys_id_seq'::regclass);


--
-- Data for Name: private_keys; Type: TABLE DATA; Schema: public; Owner: signer
--

COPY public.private_keys (id, created_at, updated_at, deleted_at, key_id, encryption_alg, keywrap_alg, algorithm, passphrase_alias, public, private, gun, role, last_used) FROM stdin;
2	2026-11-28 03:33:47.222635	2026-11-28 03:33:47.222635	\N	828fad0142d42d978ff3158517696bca2060c7f581fb6e60a469d8be1b3a578f	A256GCM	PBES2-HS256+A128KW	ecdsa	timestamp_1	0Y0\\023\\006\\007*\\206H\\316=\\002\\001\\006\\010*\\206H\\316=\\003\\001\\007\\003B\\000\\004\\035\\203\\354\\370\\370_`X\\013KAH\\015\\330\\265_>R\\321\\316\\245\\000\\202\\321\\304"P\\015\\006Z\\235:\\353S\\202\\340\\254\\312\\000*\\001m\\024C@\\232\\026\\263\\023jv\\357\\343\\305^\\013\\253\\211\\266Y\\362\\370\\024\\010	eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJlbmMiOiJBMjU2R0NNIiwicDJjIjo4MTkyLCJwMnMiOiJtNDlaVWROU3ZvZnVNekRqIn0.hgZl59VuVsPBPIz3SreySvYNv75e3F07AmY8bV5EL5HdWNZNWg9W2g.Wpxg5oCmvOE1B2TC.DoQqVDt4bnRSPwMB1Q8-iwQOOP5ZsC1brWN-O0llA7vTtG5uGbAPObRgejqnA5dTd1itPUpCWG_HFMQjSXbbLaxLKPM2n45EVNgFdluZiBbLc494pGz3WedMJwNsHQ9PkPZfbn9I7X7OEJ29kCy-19E6Pzley8csVg.nhmdn_novJMS35X2-yed3g	ex.io/team/app	snapshot	\N
1	2026-11-28 03:33:44.44671	2026-11-28 03:33:54.92664	\N	e1f9f53c5ff5fc110f3f32fab2b892afad587916f081bdcfadd4749baf1914b1	A256GCM	PBES2-HS256+A128KW	ecdsa	timestamp_1	0Y0\\023\\006\\007*\\206H\\316=\\002\\001\\006\\010*\\206H\\316=\\003\\001\\007\\003B\\000\\004+\\300(E\\335\\257\\247t\\324w\\322%\\301\\277x?\\316a\\306|\\003U\\210\\205\\232\\011\\335\\240\\304\\011\\277n\\0354wq\\214\\030\\3249\\242V\\364\\221|\\346\\225mj\\213\\267\\215\\321\\005\\314\\363\\3624a\\017\\325\\322\\353&	eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJlbmMiOiJBMjU2R0NNIiwicDJjIjo4MTkyLCJwMnMiOiJ2M2JlS08xUTJ2X29ETnVRIn0.bFIcy4wXVbr4zAphNkQ4PlJwp2EEAdIEtVzXNtwZcfymjTYiGH8m2Q.dhukYOfvwXhGJdoQ.e47FybyfxR_w7_FsuqnFW87C9cgxVMYQRwfH1n7NFsjgWzBW1SLY5YSgcj-lAoCkIKyGja34fN47oYrZQWf7K-MlnAFMqG1B6SNCDpsl79iM6WH1TlAx8dnRVHMW89Jo0fCPC4DjS4MjH_zRGlKCVYg2nqKEI3dr-A.NSoWpJR6w15YeJ7c2DCQvw	ex.io/team/app	timestamp	2026-11-28 03:33:54.845034
3	2026-11-28 03:33:50.230584	2026-11-28 03:33:57.274493	\N	1e88215fae945b49303120ba5239fe48551ba8d6f2e5ee3fe7417d9cbe41f704	A256GCM	PBES2-HS256+A128KW	ed25519	timestamp_1	T\\224j\\267\\017\\2379L\\303T\\276\\206\\264\\277\\033\\262S\\316P\\312\\303\\254\\210d\\031}V\\213X\\353\\364\\364	eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJlbmMiOiJBMjU2R0NNIiwicDJjIjo4MTkyLCJwMnMiOiIzNTdYanhGb0RDd2lYYWlyIn0.uz9e9xvHtAyfqEK6KQzrGP35iVIvoZBP-p6Wv_QYrGYMY6H2EI8c2Q.Fe42IdGd4HPb2ZBA.mjUs4v7oo3TGHyYl_fPsAeYfBhP3lCqL8C1wBCGfn-4brCxDcHN7nUq5xn7kInIZsTSKOsNTF66EMGO6fbKg-kL4yYoQQ6YZiz6uJDBFirhe1mT1YLLqSvmGnyjtqm7w.Qpacc7tDoNowSAyfQc_61g	ex.io/team/other	timestamp	2026-11-28 03:33:57.202156
4	2026-11-28 03:33:52.406523	2026-11-28 03:33:52.406523	2026-11-28 03:33:58.722996	43a77e1d664d19ddf8f04e5a987c2376ee3f94c584e27e2cc4b4590d3f461049	A256GCM	PBES2-HS256+A128KW	ecdsa	timestamp_1	0Y0\\023\\006\\007*\\206H\\316=\\002\\001\\006\\010*\\206H\\316=\\003\\001\\007\\003B\\000\\004\\004\\027!b\\361\\210\\356\\002\\213\\340A\\037[\\230\\177\\244\\224\\232\\272\\276\\0143j\\0013\\361c\\211R;\\255\\370\\343?\\312P\\321F\\324\\311\\010\\003vq\\352pj\\247\\263\\344\\005:\\361}\\3101\\034\\030\\377\\301\\310\\007\\005\\235	eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJlbmMiOiJBMjU2R0NNIiwicDJjIjo4MTkyLCJwMnMiOiJMZTNKc0NwLVBZTEdMZTl1In0.0UuFevwF7ufe0BVMAePsYynQGbp20SNm5uuLO8F4334rEbPETtaaNg.-EexYEYDhiTXmuSF.xEV0vaZcYi-ORtBid3SwjwaN6eTrkfsJkGwPvcH2aX-NKZFxieLfELfUbee3k9Xbwzx3HJE0AsPAOAfKbVcWsPkyp0GPsNVt4XQlTw28D1JD_L75MTVdJfSXhJ6sgwQcALfuxafBocnDia4dMcIRNqKCloBgUlgFEw.3QlFJhC7oTY5KZ3fmFhi_w	ex.io/team/gone	timestamp	\N
\.


--
-- Name: private_keys_id_seq; Type: SEQUENCE SET; Schema: public; Owner: signer
--

SELECT pg_catalog.setval('public.private_keys_id_seq', 4, true);


--
-- Name: private_keys key_id; Type: CONSTRAINT; Schema: public; Owner: signer
--

ALTER TABLE ONLY public.private_keys
    ADD CONSTRAINT key_id UNIQUE (key_id);


--
-- Name: private_keys key_id_2; Type: CONSTRAINT; Schema: public; Owner: signer
--

ALTER TABLE ONLY public.private_keys
    ADD CONSTRAINT key_id_2 UNIQUE (key_id, algorithm);


--
-- Name: private_keys private_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: signer
--

ALTER TABLE ONLY public.private_keys
    ADD CONSTRAINT private_keys_pkey PRIMARY KEY (id);


--
-- PostgreSQL database dump complete
--

\unrestrict fJeg6JvLDJ8j0tSC1COiVaZ2HOXZzaYbRJHYM0RlqK2QtUpfxnakqTZGLrETa6u

