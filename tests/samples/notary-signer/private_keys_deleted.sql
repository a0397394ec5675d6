/*M!999999\- enable the sandbox mode */ 
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: localhost    Database: signer
-- ------------------------------------------------------
-- Server version	10.11.19-MariaDB-0+deb12u1

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET @OLD_CHARACTER_SET_RESULTS=@@CHARACTER_SET_RESULTS */;
/*!40101 SET @OLD_COLLATION_CONNECTION=@@COLLATION_CONNECTION */;
/*!40101 SET NAMES utf8mb4 */;
/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;

--
-- Table structure for table `private_keys`
--

DROP TABLE IF EXISTS `private_keys`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `private_keys` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `created_at` timestamp NULL DEFAULT NULL,
  `updated_at` timestamp NULL DEFAULT NULL,
  `deleted_at` timestamp NULL DEFAULT NULL,
  `key_id` varchar(255) NOT NULL,
  `encryption_alg` varchar(255) NOT NULL,
  `keywrap_alg` varchar(255) NOT NULL,
  `algorithm` varchar(50) NOT NULL,
  `passphrase_alias` varchar(50) NOT NULL,
  `public` blob NOT NULL,
  `private` blob NOT NULL,
  `gun` varchar(255) NOT NULL,
  `role` varchar(255) NOT NULL,
  `last_used` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `key_id` (`key_id`),
  UNIQUE KEY `key_and_algorithm` (`key_id`,`algorithm`)
) ENGINE=InnoDB AUTO_INCREMENT=4 DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `private_keys`
--

LOCK TABLES `private_keys` WRITE;
/*!40000 ALTER TABLE `private_keys` DISABLE KEYS */;
INSERT INTO `private_keys` VALUES
(1,'2026-11-27 12:19:12','2026-11-27 12:19:12',NULL,'4046449ea758b4d9d897fc9eba40ed2c9b6e1fa5f84766d143f2a07b70198018','A256GCM','PBES2-HS256+A128KW','ecdsa','timestamp_1','0Y0*ÜHŒ=*ÜHŒ=B\04øWçË‘)J∆°CÄûôﬂ›‰yÙÊÎﬂ˚\'–x∞	ºmgó@ÔWZ¯é»a›[J~‚uºû†]O∞Häzö','eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJlbmMiOiJBMjU2R0NNIiwicDJjIjo4MTkyLCJwMnMiOiI3a2w0Y0ZPNXp4cHdqLXg3In0.j66rXNoCkv9fw1dMTWBWlKkVjBF8j1GSezsE1UVxb0HHnQ4EI5VSiw.NwioaOpljimn9_nd.mr_gvJrHYpLPD8RE8PxJ7TnnOWDc53yK3_IUWvyIUgWZ7PoI4VMaUTXe3wJh3-DbAkO0dEI3NW2iN5yQUJZwNOdU3CTk7BhMro6Os8vMq8zmNlEPXElXzBxypst4rfUbnwCSWXsLKCNWNO5kYrh9ks2eBlW8slgIrg.WQf8Forv3y4yyhSFZ0MVqw','ex.io/team/app','timestamp','2026-11-27 12:19:12'),
(2,'2026-11-27 12:19:12','2026-11-27 12:19:12','2026-11-27 12:19:44','750209ea344ec3a473c7f8c546ad8773f86fad17635fb6f16a69e53eccdcb90d','A256GCM','PBES2-HS256+A128KW','ecdsa','timestamp_1','0Y0*ÜHŒ=*ÜHŒ=B\0&S)!»)f™îaÀ^ÕÎ(†”mCèfŸÈ¡MêÊ–qhÊ”Ù˜Xˇ˛ìz≥´Îœäè åFÈp˜z@3˘\'','eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJlbmMiOiJBMjU2R0NNIiwicDJjIjo4MTkyLCJwMnMiOiI3SDlyVm1qZDU5RWxaaGpXIn0.ekrl1fUKQsvgR80E3Cj0uzZObrjdLSqU2Rr-MFcXgB0yxgOCqAHFjg.jnAg7FEopD5phbLS.6Q7hMz5FOAHpFZ53NuYOFWgp05FXCFdQ6LLR52lsvEoFZchObygv6SyyfCi7g3SdFJgkaWWvqYzTMNWRx9HmxLRTE87UaGfy0KQwKNP_LHQJwkKNP-JCd9o_7g4KqIO_iLncYU3RosLJePwpb7hAdTJLPGY8spV14g.6eQcsYUiLA13ZvlAwNL3DA','ex.io/team/app','snapshot','2026-11-27 12:19:12'),
(3,'2026-11-27 12:19:12','2026-11-27 12:19:12',NULL,'0ea928a2fc85e6f92d830b8a166c08b5fe88e969b2edd1cf4d70c6b211127fcd','A256GCM','PBES2-HS256+A128KW','ed25519','timestamp_1','◊˚óÕ◊æö|¸åˇ’©£D‡‰∆·Ê∞øQ&£»÷i!','eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJlbmMiOiJBMjU2R0NNIiwicDJjIjo4MTkyLCJwMnMiOiJWMWNWUUk0MENQTUVXWFBLIn0.y3OxrAE72JO9b_fnylC-lsKznMR74dSo7xvzBJiEvpi6MpeRkeHJxQ.LEP4dgdejLsvZYkL.kr2Ktj1Mv3nR_RnRGI3ESQzRxzlIvqeP-QgDDhpUoVFx9ttsUnvvHDETcwteMTiWbw465WMRanyOD44mKesFCL-oSiBOfQg9bxAL-LbTLMUurptUla-IHDBGTyWnJm7I.6w9k7IL9rRCLOlyIS8aUCQ','ex.io/team/other','timestamp','2026-11-27 12:19:12');
/*!40000 ALTER TABLE `private_keys` ENABLE KEYS */;
UNLOCK TABLES;
/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;

/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
/*!40101 SET CHARACTER_SET_RESULTS=@OLD_CHARACTER_SET_RESULTS */;
/*!40101 SET COLLATION_CONNECTION=@OLD_COLLATION_CONNECTION */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

-- Dump completed on 2026-11-27 12:19:44
